"""Generated reasoning tasks: problems with gold answers and step-by-step solutions, reproducible from a seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random

from astarpo.common.errors import InputError
from astarpo.data.rows import Problem
from astarpo.data.word_problems import OPERATORS, word_problems


def chain_sums(
    *, count: int, seed: int, min_terms: int, max_terms: int, min_digits: int, max_digits: int
) -> Iterator[Problem]:
    """Yield integer sums and differences such as ``3+9-4``, from reasoning-gym's ``chain_sum``.

    Args:
        count: number of problems to generate; some may be equal.
        seed: the same seed gives the same problems.
        min_terms, max_terms: number of terms in a problem, inclusive.
        min_digits, max_digits: number of digits in a term, inclusive.

    Yields:
        Rows with ``problem``, ``gold`` and ``worked_solution``, see `solve_chain_sum`.
    """
    import reasoning_gym

    task = reasoning_gym.create_dataset(
        "chain_sum",
        size=count,
        seed=seed,
        min_terms=min_terms,
        max_terms=max_terms,
        min_digits=min_digits,
        max_digits=max_digits,
    )
    for entry in task:
        problem = entry["metadata"]["expression"].replace(" ", "")
        yield {
            "problem": problem,
            "gold": entry["answer"],
            "worked_solution": solve_chain_sum(problem),
        }


def solve_chain_sum(problem: str) -> str:
    r"""Work out a sum from left to right, one addition per line, with the answer boxed.

    Args:
        problem: integers joined by + and -, without spaces, for example ``3+9-4``.

    Returns:
        For ``3+9-4`` the lines ``3+9=12``, ``12-4=8`` and ``\boxed{8}``.

    Raises:
        ValueError: the text is not a chain of sums and differences.
    """
    if not re.fullmatch(r"\d+([+-]\d+)+", problem):
        raise ValueError(f"not a chain of sums and differences: {problem!r}")
    first, *rest = re.findall(r"^\d+|[+-]\d+", problem)
    total, lines = int(first), []
    for term in rest:
        before, total = total, total + int(term)
        lines.append(f"{before}{term}={total}")
    return "\n".join([*lines, f"\\boxed{{{total}}}"])


def countdowns(
    *, count: int, seed: int, min_numbers: int, max_numbers: int, max_value: int, max_target: int
) -> Iterator[Problem]:
    """Yield problems with numbers and a target to reach with them, from reasoning-gym's ``countdown``.

    Args:
        count: number of problems to generate; some may be equal.
        seed: the same seed gives the same problems.
        min_numbers, max_numbers: how many numbers a problem gives, inclusive; each must be used once.
        max_value: largest number.
        max_target: largest target; targets start at 1.

    Yields:
        Rows with ``problem``, ``gold`` (JSON: ``numbers``, ``target`` and one ``solution``) and
        ``worked_solution`` (that solution in a box).
    """
    import reasoning_gym

    task = reasoning_gym.create_dataset(
        "countdown",
        size=count,
        seed=seed,
        min_numbers=min_numbers,
        max_numbers=max_numbers,
        min_value=1,
        max_value=max_value,
        min_target=1,
        max_target=max_target,
    )
    for entry in task:
        metadata = entry["metadata"]
        numbers = ", ".join(map(str, metadata["numbers"]))
        solution = metadata["expression"].replace(" ", "")
        gold = {"numbers": metadata["numbers"], "target": metadata["target"], "solution": solution}
        yield {
            "problem": f"Make {metadata['target']} from {numbers}, each used once.",
            "gold": json.dumps(gold, sort_keys=True),
            "worked_solution": f"{solution}={metadata['target']}\n\\boxed{{{solution}}}",
        }


def multiples_above(*, count: int, seed: int, factors: Sequence[int], largest: int, span: int) -> Iterator[Problem]:
    """Yield problems with many right answers, such as ``a multiple of 7 above 23, at most 123``.

    Args:
        count: number of rows to generate; some problems may be equal, with different solutions.
        seed: the same seed gives the same problems and solutions.
        factors: whose multiples are asked for, taken in turn; none above ``span``, so that every problem has one.
        largest: largest right answer of any problem.
        span: difference of a problem's bounds; the lower one is drawn uniformly from 0 to ``largest - span``.

    Yields:
        Rows with ``problem``, ``gold`` (JSON: ``factor``, ``above``, ``at_most``), ``worked_solution`` (a right answer
        in a box, each equally probable) and ``level`` (the factor).
    """
    random = Random(seed)
    for number in range(count):
        factor = factors[number % len(factors)]
        above = random.randint(0, largest - span)
        at_most = above + span
        solution = factor * random.randint(above // factor + 1, at_most // factor)
        yield {
            "problem": f"a multiple of {factor} above {above}, at most {at_most}",
            "gold": json.dumps({"above": above, "at_most": at_most, "factor": factor}),
            "worked_solution": f"\\boxed{{{solution}}}",
            "level": str(factor),
        }


def arithmetic(*, count: int, seed: int, kinds: Sequence[str], leave_out: Sequence[str]) -> Iterator[Problem]:
    """Yield short arithmetic as the beginning of a line, such as ``3 + 6 =`` with the answer ``9``.

    Args:
        count: number of problems to generate; some may be equal.
        seed: the same seed gives the same problems.
        kinds: keys of `ARITHMETIC`, taken in turn.
        leave_out: problems that are not generated, in either order of their numbers.

    Yields:
        Rows with ``problem``, ``gold``, ``worked_solution`` (the rest of the line), ``problem_kind``, ``level`` (digits
        of the numbers) and ``split_by``, which is the same for both orders of the numbers.

    Raises:
        InputError: an entry of ``leave_out`` is no such problem.
    """
    random = Random(seed)
    left_out = {_in_order(*_parse_arithmetic(text)) for text in leave_out}
    made = missed = 0
    while made < count:
        kind = kinds[made % len(kinds)]
        sign, low, high = ARITHMETIC[kind]
        first, second = random.randint(low, high), random.randint(low, high)
        if sign == "-":
            first, second = max(first, second), min(first, second)
        if _in_order(first, sign, second) in left_out:
            missed += 1
            if missed > MOST_MISSED:
                raise InputError(f"leave_out: leaves no problem of kind {kind!r}; shorten it, or remove the kind")
            continue
        made, missed = made + 1, 0
        gold = str(OPERATORS[sign](first, second))
        yield {
            "problem": f"{first} {sign} {second} =",
            "gold": gold,
            "worked_solution": f" {gold}",
            "problem_kind": kind,
            "level": str(len(str(high))),
            "split_by": _in_order(first, sign, second),
        }


def _parse_arithmetic(text: str) -> tuple[int, str, int]:
    parts = re.fullmatch(r"\s*(\d+) ([+*-]) (\d+) =.*", text, re.DOTALL)
    if parts is None:
        raise InputError(f"leave_out: {text!r} is not a problem of this task, such as '3 + 6 ='")
    return int(parts[1]), parts[2], int(parts[3])


def _in_order(first: int, sign: str, second: int) -> str:
    return f"{min(first, second)} {sign} {max(first, second)}"


# Kind -> operator, smallest and largest number.
ARITHMETIC: dict[str, tuple[str, int, int]] = {
    "one-digit sum": ("+", 0, 9),
    "times table": ("*", 1, 9),
    "two-digit sum": ("+", 10, 99),
    "two-digit difference": ("-", 10, 99),
}
MOST_MISSED = 10_000  # in a row; the smallest kind has 55 different problems
GENERATORS: dict[str, Callable[..., Iterator[Problem]]] = {
    "chain_sum": chain_sums,
    "countdown": countdowns,
    "arithmetic": arithmetic,
    "multiple_above": multiples_above,
    "word_problem": word_problems,
}
