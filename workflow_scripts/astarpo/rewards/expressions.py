r"""Arithmetic as language models write it, parsed by a small grammar, never executed."""

from __future__ import annotations

import re
from fractions import Fraction

from astarpo.rewards.markup import unwrap

LONGEST, DEEPEST = 1000, 50  # characters of an expression, and nested brackets
_SIGNS = (
    (r"\\(?:times|cdot|ast)(?![A-Za-z])|[\u00d7\u00b7\u22c5\u2217\u2219\u2022\uff0a]", "*"),
    (r"\\div(?![A-Za-z])|[\u00f7\u2044\u2215]", "/"),
    ("[\u2212\u2012\u2013]", "-"),
    (r"(?<=[\d)\]])\s*[xX]\s*(?=[\d(\[])", "*"),
    # Spacing and sizes mean nothing; a space stays a space, so that 1\,2 is not 12.
    (r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~", " "),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])", ""),
    (r"\\lbrack(?![A-Za-z])", "["),
    (r"\\rbrack(?![A-Za-z])", "]"),
    (r"\{\s*([-+*/])\s*\}", r"\1"),
    # Without braces, the arguments of a fraction are single digits.
    (r"\\[dtc]?frac(?![A-Za-z])", r"\\frac"),
    (r"\\frac\s*([0-9])(?=\s*[0-9{])", r"\\frac{\1}"),
    (r"(\\frac\s*\{[^{}]*\})\s*([0-9])(?![0-9])", r"\1{\2}"),
)
_SPELLINGS = [(re.compile(pattern), sign) for pattern, sign in _SIGNS]
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]{1,12})(?:\.0{1,12}(?![0-9]))?|(?P<sign>\\frac|[-+*/()\[\]{}]))")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class NotAnExpression(ValueError):
    """The text does not follow the grammar or divides by zero."""


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    r"""Evaluate an expression exactly.

    sum = product ((+|-) product)*;  product = factor ((*|/) factor | group)*;
    factor = - factor | number | group | \frac { sum } { sum };  group = ( sum ) | [ sum ] | { sum }

    Signs may be LaTeX or Unicode (``\times``, ``\cdot``, ``·``, ``÷``). A group in round or square brackets multiplies
    what precedes it, ``2(3)`` and ``(2)(3)``, but not after a division, since ``6/2(3)`` is ambiguous. Adjacent digits
    form one number; adjacent numbers are not an expression.

    Args:
        text: at most `LONGEST` characters.

    Returns:
        Its exact value, and the numbers in it from left to right.

    Raises:
        NotAnExpression: the text is invalid, nested deeper than `DEEPEST`, longer than `LONGEST`, or divides by zero.
    """
    if len(text) > LONGEST:
        raise NotAnExpression(f"longer than {LONGEST} characters")
    text = unwrap(text)
    for pattern, sign in _SPELLINGS:
        text = pattern.sub(sign, text)
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens = self._cut(text.strip())
        self.place, self.depth = 0, 0
        self.numbers: list[int] = []

    @staticmethod
    def _cut(text: str) -> list[str]:
        tokens, place = [], 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise NotAnExpression(f"{text[place : place + 10]!r} is not part of the grammar")
            tokens.append(match["number"] or match["sign"])
            place = match.end()
        return [*tokens, ""]

    def read(self) -> tuple[Fraction, list[int]]:
        value = self._sum()
        if self._ahead:
            raise NotAnExpression(f"unexpected {self._ahead!r}")
        return value, self.numbers

    @property
    def _ahead(self) -> str:
        return self.tokens[self.place]

    def _next(self) -> str:
        token = self._ahead
        self.place += 1
        return token

    def _sum(self) -> Fraction:
        value = self._product()
        while self._ahead in ("+", "-"):
            value = value + self._product() if self._next() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value, divided = self._factor(), False
        while self._ahead and self._ahead in "*/([":
            sign = self._next() if self._ahead in "*/" else ""
            if not sign and (divided or self.tokens[self.place - 1] == "}"):
                raise NotAnExpression("a group after a divisor or closing brace is ambiguous")
            factor = self._factor()
            divided = sign == "/"
            value = _quotient(value, factor) if divided else value * factor
        return value

    def _factor(self) -> Fraction:
        self.depth += 1
        if self.depth > DEEPEST:
            raise NotAnExpression(f"nested deeper than {DEEPEST}")
        token = self._next() if self._ahead else ""
        if token == "-":
            value = -self._factor()
        elif token in _CLOSING:
            value = self._group(token)
        elif token == r"\frac":
            value = _quotient(self._braces(), self._braces())
        elif token.isdigit():
            self.numbers.append(int(token))
            value = Fraction(int(token))
        else:
            raise NotAnExpression(f"expected a number, not {token!r}")
        self.depth -= 1
        return value

    def _braces(self) -> Fraction:
        if self._ahead != "{":
            raise NotAnExpression("a fraction needs two arguments in braces")
        return self._group(self._next())

    def _group(self, opening: str) -> Fraction:
        value = self._sum()
        if self._ahead != _CLOSING[opening]:
            raise NotAnExpression("unclosed bracket")
        self._next()
        return value


def _quotient(value: Fraction, divisor: Fraction) -> Fraction:
    if divisor == 0:
        raise NotAnExpression("division by zero")
    return value / divisor
