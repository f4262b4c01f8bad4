"""Data sets and benchmarks: generating, reading and checking them, rendering prompts, finding shared problems."""
