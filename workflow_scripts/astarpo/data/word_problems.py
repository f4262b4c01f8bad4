"""Generated word problems of two steps, with worked solutions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from astarpo.data.rows import Problem


@dataclass(frozen=True)
class Story:
    """A word problem without its numbers.

    Attributes:
        text: with ``{name}``, ``{friend}``, ``{things}`` and the numbers ``{a}``, ``{b}``, ``{c}``.
        first: sign of the step from a and b.
        second: sign of the step from its result and c.
    """

    text: str
    first: str
    second: str


# Kind -> story.
STORIES = {
    "sum, sum": Story(
        "{name} has {a} {things}, {friend} has {b}, and there are {c} on the table. "
        "How many {things} are there in all?",
        "+",
        "+",
    ),
    "sum, difference": Story(
        "{name} has {a} {things} and finds {b} more. Then {name} gives {c} of them to {friend}. "
        "How many {things} does {name} have left?",
        "+",
        "-",
    ),
    "difference, sum": Story(
        "{name} had {a} {things} and lost {b}. Then {friend} gave {name} {c}. How many {things} does {name} have now?",
        "-",
        "+",
    ),
    "product, sum": Story(
        "{name} has {a} bags with {b} {things} in each, and {friend} has {c} {things}. "
        "How many {things} do they have together?",
        "*",
        "+",
    ),
    "product, difference": Story(
        "{name} buys {a} bags with {b} {things} in each. {friend} takes {c} of the {things}. "
        "How many {things} are left?",
        "*",
        "-",
    ),
    "sum, product": Story(
        "Every day {name} finds {a} {things} and {friend} finds {b}. How many {things} do they find in {c} days?",
        "+",
        "*",
    ),
    "quotient, sum": Story(
        "{name} divides {a} {things} equally among {b} children. One of them is {friend}, who had {c} already. "
        "How many {things} does {friend} have now?",
        "/",
        "+",
    ),
    "quotient, difference": Story(
        "{name} divides {a} {things} equally among {b} children. One of them is {friend}, who loses {c}. "
        "How many {things} does {friend} have now?",
        "/",
        "-",
    ),
}
NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ines", "Jack", "Kim", "Leo")
THINGS = ("apples", "books", "cards", "coins", "marbles", "nuts", "pencils", "shells", "stamps", "stones")
LARGEST_FACTOR = 9  # of products and quotients: the times table
OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,  # never leaves a remainder here
}


def word_problems(*, count: int, seed: int, kinds: Sequence[str], largest: int) -> Iterator[Problem]:
    """Yield word problems of two steps.

    Args:
        count: number of problems to generate; some may be equal.
        seed: the same seed gives the same problems.
        kinds: keys of `STORIES`, taken in turn.
        largest: largest number in a sum or difference of two given numbers, at least 4; factors go up to 9.

    Yields:
        Rows with ``problem``, ``gold``, ``worked_solution`` (a step on each line, then ``#### `` and the answer, as in
        GSM8K), ``problem_kind``, ``level`` (digits of the answer) and ``split_by``, which is the same for problems that
        differ in names and things alone.
    """
    random = Random(seed)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        story = STORIES[kind]
        name, friend = random.sample(NAMES, 2)
        a, b = _first_two(random, story.first, largest)
        between = OPERATORS[story.first](a, b)
        c = _third(random, story.second, between, largest)
        answer = OPERATORS[story.second](between, c)
        steps = f"{a} {story.first} {b} = {between}\n{between} {story.second} {c} = {answer}"
        yield {
            "problem": story.text.format(name=name, friend=friend, things=random.choice(THINGS), a=a, b=b, c=c),
            "gold": str(answer),
            "worked_solution": f"{steps}\n#### {answer}",
            "problem_kind": kind,
            "level": str(len(str(answer))),
            "split_by": f"{kind}: {a} {b} {c}",
        }


def _first_two(random: Random, sign: str, largest: int) -> tuple[int, int]:
    """Draw the numbers of a first step, at least 2 each; a result that may be lowered is at least 3."""
    if sign == "+":
        return random.randint(2, largest), random.randint(2, largest)
    if sign == "-":
        minuend = random.randint(4, largest)
        return minuend, random.randint(2, minuend - 2)
    factor, other = random.randint(2, LARGEST_FACTOR), random.randint(3, LARGEST_FACTOR)
    return (factor, other) if sign == "*" else (factor * other, factor)


def _third(random: Random, sign: str, before: int, largest: int) -> int:
    """Draw the number of a second step, at least 2; the answer is at least 1."""
    if sign == "-":
        return random.randint(2, before - 1)
    return random.randint(2, LARGEST_FACTOR if sign == "*" else largest)
