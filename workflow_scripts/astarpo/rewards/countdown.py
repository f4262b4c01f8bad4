"""The verifier of countdown problems: an arithmetic expression that uses each number once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TypedDict

from astarpo.data.boxed import last_boxed
from astarpo.rewards.expressions import NotAnExpression, evaluate
from astarpo.rewards.markup import unwrap
from astarpo.rewards.run_on import IN_BOX, without_run_on
from astarpo.rewards.verdicts import Response, Verdict

MOST_SIDES = 4  # of a chain of equations


class Countdown(TypedDict):
    """A countdown problem as its gold answer has it."""

    numbers: list[int]
    target: int
    solution: str


def countdown(gold: str, response: Response) -> Verdict:
    r"""Check that the expression in the last ``\boxed{}`` uses each number once and has the target's value.

    Args:
        gold: JSON with ``numbers`` (a list of integers), ``target`` and, for reference, one ``solution``.
        response: the response. In the box an expression as `expressions.evaluate` reads it, or an equation: then
            one side is the expression, and all sides must have the target's value.

    Returns:
        ``no_answer`` where there is no box; ``incorrect`` for another value, other numbers, or no expression.

    Raises:
        ValueError: the gold answer is no such JSON.
    """
    wanted = _read_gold(gold)
    answer = last_boxed(without_run_on(response.text, IN_BOX))
    if answer is None:
        return Verdict("no_answer", None)
    right = _is_solution(answer, wanted["target"], Counter(wanted["numbers"]))
    return Verdict("correct" if right else "incorrect", answer)


def _is_solution(answer: str, target: int, numbers: Counter[int]) -> bool:
    sides = [side for side in unwrap(answer).split("=", MOST_SIDES) if side.strip()]
    try:
        read = [evaluate(side) for side in sides]
    except NotAnExpression:
        return False
    return all(value == target for value, _ in read) and any(Counter(used) == numbers for _, used in read)


def countdown_solution(gold: str) -> str:
    """The solution that comes with a gold answer, in a box."""
    return f"\\boxed{{{_read_gold(gold)['solution']}}}"


def _read_gold(gold: str) -> Countdown:
    try:
        wanted = json.loads(gold)
        numbers, target = wanted["numbers"], wanted["target"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"the gold answer must be JSON with `numbers` and `target`, but is {gold!r}") from error
    if not isinstance(target, int) or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"numbers and target must be integers: {gold!r}")
    return {"numbers": numbers, "target": target, "solution": wanted.get("solution", "")}
