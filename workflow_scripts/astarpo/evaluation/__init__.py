"""Scores on benchmarks, and the statistics of comparing them."""
