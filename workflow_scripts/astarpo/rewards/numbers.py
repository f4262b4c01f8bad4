"""Verifiers of numbers, exact and linear in the length of the response."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction

from astarpo.data.boxed import last_boxed
from astarpo.rewards.expressions import NotAnExpression, evaluate
from astarpo.rewards.markup import unwrap
from astarpo.rewards.numerals import (
    LONGEST,
    MULTIPLIERS,
    announces_answer,
    read_integer,
    read_number,
)
from astarpo.rewards.run_on import AFTER_HASHES, ANYWHERE, IN_BOX, without_run_on
from astarpo.rewards.verdicts import Response, Verdict


def integer(gold: str, response: Response) -> Verdict:
    r"""Compare the integer in the last ``\boxed{}`` of the response with the gold integer.

    Common markup is ignored (see `to_integer`), and so is what a model adds after its answer, such as another
    question with its box (see `run_on`).

    Args:
        gold: an integer; thousands commas and ``.0`` are allowed.
        response: the response.

    Returns:
        ``no_answer`` if there is no box, ``incorrect`` if it does not hold the gold integer.

    Raises:
        ValueError: the gold answer is not an integer.
    """
    wanted = to_integer(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is not an integer: {gold!r}")
    answer = last_boxed(without_run_on(response.text, IN_BOX))
    if answer is None:
        return Verdict("no_answer", None)
    return Verdict("correct" if to_integer(answer) == wanted else "incorrect", answer)


# A quantity on one side of an equation: letters and operators, but no comparison and no list.
_QUANTITY = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9\\_^{}()|'+*/. \-]{1,80}")
_NO_QUANTITY = re.compile(
    r"(?<![A-Za-z])(?:not|neq?|geq?|leq?|approx|equiv|wrong|incorrect|never|or|and|lor|land|vee|wedge)(?![A-Za-z])"
    r"|\\q?quad|\\[\\,;: ]|!$",
    re.IGNORECASE,
)


def to_integer(text: str) -> int | None:
    r"""Read an integer of at most 1,000 digits from a box; None for anything else.

    ``25.0``, ``025``, ``$25$``, ``\text{25}``, ``1,234``, ``1{,}234``, ``336^\circ``, ``25\text{ cm}`` are integers,
    ``2,5`` and ``12,34`` are lists. ``m+n=25`` is 25, whatever the left side, and so is ``12+13=25``; but all sides
    that are numbers must be equal, and only the first may be a name.
    """
    number = read_integer(text, in_latex=True)
    if number is not None:
        return number
    value = _given_by_equation(text)
    return None if value is None or value.denominator != 1 else int(value)


def _given_by_equation(text: str) -> Fraction | None:
    """The common value of an equation's sides, where the first may be a name."""
    if len(text) > LONGEST:
        return None
    first, *others = unwrap(text).split("=")
    values = {_side(side) for side in others}
    if len(values) != 1:
        return None
    (value,) = values
    if value is None:
        return None
    if _side(first) == value or (
        _QUANTITY.fullmatch(first) and not _NO_QUANTITY.search(first) and _side(first) is None
    ):
        return value
    return None


def _side(text: str) -> Fraction | None:
    """The value of one side of an equation, or None."""
    number = read_number(text, in_latex=True)
    if number is not None:
        return number
    try:
        return evaluate(text)[0]
    except NotAnExpression:
        return None


def gsm8k(gold: str, response: Response) -> Verdict:
    r"""Compare the number after the last ``####`` of the response with the gold number, exactly.

    Strict: the rest of that line is the number and what `numerals.read_number` removes, as in ``$18``, ``**18**``,
    ``\boxed{18}``, ``Answer: 18``, ``18 eggs per day``, ``18!``. Numbers elsewhere do not count. Only the last ``####``
    with text after it counts; if it is alone on its line, a number may follow on the next. Questions that a model adds
    after an answer are ignored (see `run_on`).

    Args:
        gold: a number; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` if nothing follows a ``####``, ``incorrect`` if it is not the gold number.

    Raises:
        ValueError: the gold answer is not a number.
    """
    wanted = _gold_number(gold)
    answer = _after_hashes(without_run_on(response.text, AFTER_HASHES))
    if answer is None:
        return Verdict("no_answer", None)
    number = to_number(answer)
    if number is None:
        return Verdict("incorrect", answer)
    return Verdict("correct" if number == wanted else "incorrect", str(number))


def _gold_number(gold: str) -> Fraction:
    wanted = read_number(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is not a number: {gold!r}")
    return wanted


def to_number(text: str) -> Fraction | None:
    """Read the line of an answer: one number, or an equation that gives it (``x = 18``, ``9*2=18``, ``= 18``).

    A trailing exclamation mark is not a factorial, and a trailing comma or semicolon does not make a list.
    """
    line = re.sub(r"!{1,3}(?=[.*]{0,4}$)|(?<=[0-9])[,;]$", "", text.strip())
    number = read_number(re.sub(r"^[=:]\s*(?=[-+$0-9.])", "", line))
    return _given_by_equation(line) if number is None else number


_MARK = re.compile(r"#{4,}")


def _after_hashes(text: str) -> str | None:
    """The text after the last ``####`` that has any; closing marks (``#### 42 ####``) are ignored."""
    lines = [line.strip() for line in text.split("\n")] if "####" in text else []
    heading = None  # "#### Final answer", with no number below
    for place in reversed(range(len(lines))):
        if "####" not in lines[place]:
            continue
        before, *behind = (segment.strip() for segment in _MARK.split(lines[place]))
        given = next((segment for segment in reversed(behind) if segment), None)
        if given is not None and not announces_answer(given):
            return given
        below = next((line for line in lines[place + 1 : place + 4] if line), "####")
        if (given or not before) and "####" not in below and to_number(below) is not None:
            return below
        heading = given or heading
    return heading


def gsm8k_flexible(gold: str, response: Response) -> Verdict:
    """Compare the last number anywhere in the response with the gold number, exactly.

    The paper's code does this in stage 1. It forgives a missing ``####`` and accepts any last number. ``3/4`` and
    ``42 million`` are one number each. Questions that a model adds after an answer are ignored (see `run_on`).

    Args:
        gold: a number; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` if the response has no number, ``incorrect`` if the last one differs.

    Raises:
        ValueError: the gold answer is not a number.
    """
    wanted = _gold_number(gold)
    last = deque(_ANY_NUMBER.finditer(without_run_on(response.text, ANYWHERE)), maxlen=1)
    if not last:
        return Verdict("no_answer", None)
    number = _value(last[0])
    if number is None:
        return Verdict("incorrect", last[0].group())
    return Verdict("correct" if number == wanted else "incorrect", str(number))


# A sign counts only if no number or word precedes it: 5-3 ends in 3, not in -3. The same holds for the point of .5.
_ANY_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)\]}])[-+\u2212\u2010-\u2013])?[$\u20ac\u00a3\u00a5]?"
    r"(?P<digits>(?:[0-9]{1,3}(?:(?:,|\{,\}|,?\\!|\\,)[0-9]{3})+(?![0-9])|[0-9]{1,1000})(?:\.[0-9]{1,1000})?"
    r"|(?<![\w.])\.[0-9]{1,1000})(?P<e>[eE][-+]?[0-9]{1,3}(?!\w))?"
)
_NUMERATOR = re.compile(
    r"(?P<sign>(?<![\w.)])-)?(?:(?P<n>[0-9]{1,30}(?:\.[0-9]{1,30})?)\s?/\s?"
    r"|\\[dt]?frac\s?\{(?P<n2>[0-9]{1,30})\}\s?\{\s?)\Z"
)
_SPACED_MINUS = re.compile(r"[=(:]\s{0,4}[-\u2212]\s{1,4}\Z")
_BEHIND = re.compile(
    r"\*{0,3}(?:(?P<part>[\u00bc-\u00be\u2150-\u215e]|[^\S\n]+and[^\S\n]+(?:a|an|one|two|three)[^\S\n]+"
    r"(?:half|quarters?|thirds?|fourths?|fifths?|tenths?)\b)|[^\S\n]+(?P<word>[A-Za-z]+))"
)


def _value(match: re.Match[str]) -> Fraction | None:
    """The number of a match, with an adjacent numerator or multiplier."""
    text, start, end = match.string, match.start(), match.end()
    number = Fraction(re.sub(r"[^0-9.]", "", match["digits"]) + (match["e"] or ""))
    if match["sign"] not in (None, "+"):
        number = -number
    above = _NUMERATOR.search(text, max(0, start - 80), start)
    if above is not None:
        if number == 0:
            return None
        top = Fraction(above["n"] or above["n2"])
        number = (-top if above["sign"] else top) / number
    elif match["sign"] is None and _SPACED_MINUS.search(text, max(0, start - 20), start):
        number = -number
    behind = _BEHIND.match(text, end)
    if behind is None:
        return number
    return None if behind["part"] else number * MULTIPLIERS.get(behind["word"].lower(), 1)
