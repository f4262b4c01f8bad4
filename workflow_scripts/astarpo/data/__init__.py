"""Data sets and benchmarks: generated or read, checked, turned into prompts, compared with each other."""
