"""Grade the answers to a benchmark: a verdict, a reward and the extracted answer for each."""

from astarpo.common import cli
from astarpo.rewards.command import grade_responses


def main() -> None:
    grade_responses(__file__, __doc__, merge_answers=True)


if __name__ == "__main__":
    cli.run(main)
