"""Explaining reruns: Snakemake's dry run in words, and a record of the code that results were made with."""
