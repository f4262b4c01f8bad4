"""Snakemake's `--logger stages`: one line per stage, the progress of running jobs, and why a job failed.

Snakemake finds a logger plugin by its package's name on the import path:

    PYTHONPATH=workflow_scripts snakemake --cores 2 --logger stages
"""

from snakemake_logger_plugin_stages.handler import LogHandler

__all__ = ["LogHandler"]
