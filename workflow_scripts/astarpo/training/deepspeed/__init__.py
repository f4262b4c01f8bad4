"""Training with DeepSpeed: the engine, the critic, and the modules that ZeRO 3 wraps."""
