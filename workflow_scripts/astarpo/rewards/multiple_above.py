"""The verifier of a task with many right answers: any multiple of a number within bounds."""

from __future__ import annotations

import json
import re
from typing import TypedDict

from astarpo.data.boxed import last_boxed
from astarpo.rewards.run_on import IN_BOX, without_run_on
from astarpo.rewards.verdicts import Response, Verdict

# Not \d, which is any script's digits; of bounded length, because int() takes quadratic time.
_PLAIN = re.compile(r"[1-9][0-9]{0,17}")


class Bounds(TypedDict):
    """The contents of a gold answer: ``above`` < answer <= ``at_most``, and ``factor`` divides it."""

    factor: int
    above: int
    at_most: int


def multiple_above(gold: str, response: Response) -> Verdict:
    r"""Check that the last ``\boxed{}`` holds a multiple of a number, above one bound and not above another.

    The answer is a plain number: digits without a sign, a leading zero, a separator, a unit or an expression. So every
    right answer has exactly one spelling.

    Args:
        gold: JSON with the integers ``factor``, ``above`` and ``at_most``.
        response: its last box counts; boxes joined by a comma or "or" are one answer, which is no number.

    Returns:
        ``no_answer`` if there is no box; ``incorrect`` for anything but such a multiple.

    Raises:
        ValueError: the gold answer is invalid, or nothing would be right.
    """
    bounds = _read_gold(gold)
    answer = last_boxed(without_run_on(response.text, IN_BOX))
    if answer is None:
        return Verdict("no_answer", None)
    if not _PLAIN.fullmatch(answer):
        return Verdict("incorrect", answer)
    value = int(answer)
    right = value % bounds["factor"] == 0 and bounds["above"] < value <= bounds["at_most"]
    return Verdict("correct" if right else "incorrect", answer)


def smallest_multiple_above(gold: str) -> str:
    """The smallest right answer to a gold answer, boxed."""
    return f"\\boxed{{{_smallest(_read_gold(gold))}}}"


def _smallest(bounds: Bounds) -> int:
    return (bounds["above"] // bounds["factor"] + 1) * bounds["factor"]


def _read_gold(gold: str) -> Bounds:
    try:
        given = json.loads(gold)
        bounds: Bounds = {"factor": given["factor"], "above": given["above"], "at_most": given["at_most"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the gold answer must be JSON with `factor`, `above` and `at_most`, but is {gold!r}"
        ) from error
    if not all(type(value) is int for value in bounds.values()) or bounds["factor"] < 1 or bounds["above"] < 0:
        raise ValueError(f"`factor` must be a positive integer, the bounds integers from 0: {gold!r}")
    if _smallest(bounds) > bounds["at_most"]:
        raise ValueError(f"no multiple of `factor` is within the bounds: {gold!r}")
    return bounds
