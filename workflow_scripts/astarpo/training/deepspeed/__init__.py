"""Training with DeepSpeed: the engine, the critic, and the modules that DeepSpeed wraps under ZeRO 3."""
