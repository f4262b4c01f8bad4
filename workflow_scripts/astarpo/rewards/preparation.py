"""What the preparation of data asks of verifiers, in workers: a verifier that hangs or exits is a message."""

from __future__ import annotations

from collections.abc import Sequence

from astarpo.rewards.grading import Grader, GradingSettings, Item
from astarpo.rewards.verifiers import right_response


def mean_the_same(verifier: str, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Tell which pairs of gold answers a verifier takes for one and the same.

    Args:
        verifier: a name in the registry, or ``path/to/file.py:function``.
        pairs: gold answers; the second is given as the response to the first.

    Returns:
        One a pair. False as well where no verdict can be had: that is worth a look.
    """
    items: dict[int, Item] = {}
    for place, (one, other) in enumerate(pairs):
        response = right_response(verifier, other)
        if response is not None:
            items[place] = Item(verifier, one, response)
    with Grader(GradingSettings("as_judged", 1.0, len(pairs) + 1)) as grader:
        grades = dict(zip(items, grader.grade(items.values()), strict=True))
    return [place in grades and grades[place].reward == 1.0 for place in range(len(pairs))]
