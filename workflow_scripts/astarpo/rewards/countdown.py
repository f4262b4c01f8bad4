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

MOST_EQUALS_SIGNS = 4  # in a chain of equations


class Countdown(TypedDict):
    """The contents of a gold answer."""

    numbers: list[int]
    target: int
    solution: str


def countdown(gold: str, response: Response) -> Verdict:
    r"""Check that the expression in the last ``\boxed{}`` uses each number once and equals the target.

    Args:
        gold: JSON with ``numbers`` (a list of integers), ``target`` and, for reference, one ``solution``.
        response: its box holds an expression (see `expressions.evaluate`) or an equation: then one side is the
            expression, and all sides must equal the target.

    Returns:
        ``no_answer`` if there is no box; ``incorrect`` for a wrong value, wrong numbers, or an invalid expression.

    Raises:
        ValueError: the gold answer is invalid.
    """
    problem = _read_gold(gold)
    answer = last_boxed(without_run_on(response.text, IN_BOX))
    if answer is None:
        return Verdict("no_answer", None)
    right = _is_solution(answer, problem["target"], Counter(problem["numbers"]))
    return Verdict("correct" if right else "incorrect", answer)


def _is_solution(answer: str, target: int, numbers: Counter[int]) -> bool:
    sides = [side for side in unwrap(answer).split("=", MOST_EQUALS_SIGNS) if side.strip()]
    try:
        values = [evaluate(side) for side in sides]
    except NotAnExpression:
        return False
    return all(value == target for value, _ in values) and any(Counter(used) == numbers for _, used in values)


def countdown_solution(gold: str) -> str:
    """The solution in a gold answer, boxed."""
    return f"\\boxed{{{_read_gold(gold)['solution']}}}"


def _read_gold(gold: str) -> Countdown:
    try:
        problem = json.loads(gold)
        numbers, target = problem["numbers"], problem["target"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"the gold answer must be JSON with `numbers` and `target`, but is {gold!r}") from error
    if not isinstance(target, int) or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"numbers and target must be integers: {gold!r}")
    return {"numbers": numbers, "target": target, "solution": problem.get("solution", "")}
