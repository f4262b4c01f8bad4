"""Stage 2: the loop, the engine that holds the weights, and metrics."""
