"""One policy: loading and saving it, its end tokens, its memory, adapters, and the log-probabilities of responses."""
