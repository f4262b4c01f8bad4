"""A policy: loading, saving, end tokens, memory, adapters, and the log-probabilities of responses."""
