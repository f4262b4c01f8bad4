"""Grade a block of stage 1: a verdict, a reward and the extracted answer for each response."""

from astarpo.common import cli
from astarpo.rewards.command import grade_responses


def main() -> None:
    grade_responses(__file__, __doc__, merge_answers=False)


if __name__ == "__main__":
    cli.run(main)
