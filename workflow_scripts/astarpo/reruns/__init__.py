"""What would run and why, in words: a dry run of Snakemake read, and the code that results were made with."""
