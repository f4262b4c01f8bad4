"""Prepare a data set: read its source, check and filter its rows, render its prompts, write a card."""

from astarpo.common import cli
from astarpo.data.command import prepare_task


def main() -> None:
    prepare_task(__file__, __doc__)


if __name__ == "__main__":
    cli.run(main)
