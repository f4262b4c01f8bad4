"""Command lines that two rules share."""
