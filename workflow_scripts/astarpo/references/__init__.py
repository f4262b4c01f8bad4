"""Reference policies: where the model comes from, its supervised warm start, and loading what was left."""
