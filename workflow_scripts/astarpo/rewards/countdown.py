"""The verifier of countdown problems: an arithmetic expression, read by a small grammar of its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from typing import Any

from astarpo.boxed import last_boxed
from astarpo.rewards.verdicts import Response, Verdict

LONGEST, DEEPEST = 1000, 50  # characters of an expression, and parentheses within parentheses
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]{1,12})|(?P<sign>[-+*/()]))")
# As language models like to spell them.
_SPELLINGS = {"\\times": "*", "\\cdot": "*", "\\div": "/", "\u00d7": "*", "\u00f7": "/", "\u2212": "-",
              "\\left": "", "\\right": "", "$": ""}  # fmt: skip


class NotAnExpression(ValueError):
    """The text is none of the grammar, or it divides by zero."""


def countdown(gold: str, response: Response) -> Verdict:
    r"""Check that the expression in the last ``\boxed{}`` uses each number once and has the target's value.

    Args:
        gold: JSON with ``numbers`` (a list of integers), ``target`` and, for a look, one ``solution``.
        response: the response. In the box an expression of the numbers with ``+ - * /`` and parentheses; what
            follows an equals sign is left out.

    Returns:
        ``no_answer`` where there is no box; ``incorrect`` for another value, other numbers, or no expression.

    Raises:
        ValueError: the gold answer is no such JSON.
    """
    wanted = _read_gold(gold)
    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    try:
        value, used = evaluate(answer)
    except NotAnExpression:
        return Verdict("incorrect", answer)
    right = value == wanted["target"] and Counter(used) == Counter(wanted["numbers"])
    return Verdict("correct" if right else "incorrect", answer)


def countdown_solution(gold: str) -> str:
    """The solution that comes with a gold answer, in a box."""
    return f"\\boxed{{{_read_gold(gold)['solution']}}}"


def _read_gold(gold: str) -> dict[str, Any]:
    try:
        wanted = json.loads(gold)
        numbers, target = wanted["numbers"], wanted["target"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the gold answer must be JSON with `numbers` and `target`, but is {gold!r}"
        ) from error
    if not isinstance(target, int) or not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"numbers and target must be integers: {gold!r}")
    return {"solution": "", **wanted}


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    """Read an expression.

    sum = product ((+|-) product)*;  product = factor ((*|/) factor)*;  factor = - factor | number | ( sum )

    Args:
        text: no more than `LONGEST` characters.

    Returns:
        Its exact value, and the numbers in it from left to right.

    Raises:
        NotAnExpression: it is none, is nested deeper than `DEEPEST`, or divides by zero.
    """
    for spelling, sign in _SPELLINGS.items():
        text = text.replace(spelling, sign)
    return _Reader(text.split("=")[0]).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens = self._cut(text.strip())
        self.place, self.depth = 0, 0
        self.numbers: list[int] = []

    @staticmethod
    def _cut(text: str) -> list[str]:
        if len(text) > LONGEST:
            raise NotAnExpression(f"longer than {LONGEST} characters")
        tokens, place = [], 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise NotAnExpression(f"{text[place : place + 10]!r} belongs to no expression")
            tokens.append(match["number"] or match["sign"])
            place = match.end()
        return [*tokens, ""]

    def read(self) -> tuple[Fraction, list[int]]:
        value = self._sum()
        if self.tokens[self.place]:
            raise NotAnExpression(f"ends before {self.tokens[self.place]!r}")
        return value, self.numbers

    def _next(self) -> str:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def _sum(self) -> Fraction:
        value = self._product()
        while self.tokens[self.place] in ("+", "-"):
            value = value + self._product() if self._next() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while self.tokens[self.place] in ("*", "/"):
            if self._next() == "*":
                value *= self._factor()
            else:
                divisor = self._factor()
                if divisor == 0:
                    raise NotAnExpression("divides by zero")
                value /= divisor
        return value

    def _factor(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotAnExpression(f"nested deeper than {DEEPEST}")
        token = self._next() if self.tokens[self.place] else ""
        if token == "-":
            value = -self._factor()
        elif token == "(":
            value = self._sum()
            if self.tokens[self.place] != ")":
                raise NotAnExpression("a parenthesis never closes")
            self._next()
        elif token.isdigit():
            self.numbers.append(int(token))
            value = Fraction(int(token))
        else:
            raise NotAnExpression(f"a number is missing at {token!r}")
        self.depth -= 1
        return value
