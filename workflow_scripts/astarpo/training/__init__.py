"""Stage 2: the loop, the engine that holds the weights, checkpoints, and what is recorded of each step."""
