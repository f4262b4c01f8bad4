"""The command line of scripts that read stage 1's samples."""

from __future__ import annotations

import argparse

from astarpo.common import cli


def add_sample_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--graded`` and ``--generations``."""
    parser.add_argument("--graded", required=True, nargs="+", help="parquet files of graded blocks")
    parser.add_argument("--generations", required=True, nargs="+", help="parquet files of the same blocks' responses")


def sample_inputs(arguments: argparse.Namespace) -> dict[str, str]:
    """Name the files of these options for the record of inputs."""
    return cli.numbered("graded", arguments.graded) | cli.numbered("generations", arguments.generations)
