"""Benchmark scores and the statistics for comparing them."""
