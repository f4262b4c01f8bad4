"""Verifiers of numbers: exact, and in time linear in the length of the response."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction

from astarpo.boxed import last_boxed
from astarpo.rewards.verdicts import Response, Verdict


def integer(gold: str, response: Response) -> Verdict:
    r"""Compare the integer in the last ``\boxed{}`` of the response with the gold integer.

    Args:
        gold: an integer; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where there is no box, ``incorrect`` where it holds no integer or another one.

    Raises:
        ValueError: the gold answer is no integer.
    """
    wanted = to_integer(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no integer: {gold!r}")
    answer = last_boxed(response.text)
    if answer is None:
        return Verdict("no_answer", None)
    return Verdict("correct" if to_integer(answer) == wanted else "incorrect", answer)


def to_integer(text: str) -> int | None:
    """Read an integer of at most 1,000 digits, with thousands commas or without; None for anything else."""
    cleaned = text.strip().replace(",", "")
    match = re.fullmatch(r"([+-]?[0-9]{1,1000})(?:\.0{1,1000})?", cleaned)
    return None if match is None else int(match[1])


def gsm8k(gold: str, response: Response) -> Verdict:
    """Compare the number after the last ``####`` of the response with the gold number, exactly.

    Strict: the rest of that line is the number, with a currency sign before it and a unit or a full stop after
    it at most. A number elsewhere in the response is no answer.

    Args:
        gold: a number; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where nothing follows a ``####``, ``incorrect`` where it is no number or another one.

    Raises:
        ValueError: the gold answer is no number.
    """
    wanted = to_number(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no number: {gold!r}")
    _, mark, rest = response.text.rpartition("####")
    answer = rest.strip().partition("\n")[0].strip() if mark else ""
    if not answer:
        return Verdict("no_answer", None)
    found = to_number(answer)
    if found is None:
        return Verdict("incorrect", answer)
    return Verdict("correct" if found == wanted else "incorrect", str(found))


def gsm8k_flexible(gold: str, response: Response) -> Verdict:
    """Compare the last number of the response, wherever it stands, with the gold number, exactly.

    As the paper's code does it in stage 1. It forgives a missing ``####``, and takes any last number for an answer.

    Args:
        gold: a number; thousands commas are allowed.
        response: the response.

    Returns:
        ``no_answer`` where the response has no number, ``incorrect`` where the last one is another.

    Raises:
        ValueError: the gold answer is no number.
    """
    wanted = to_number(gold)
    if wanted is None:
        raise ValueError(f"the gold answer is no number: {gold!r}")
    last = deque(_ANY_NUMBER.finditer(response.text), maxlen=1)
    if not last:
        return Verdict("no_answer", None)
    answer = last[0].group()
    found = to_number(answer)
    if found is None:
        return Verdict("incorrect", answer)
    return Verdict("correct" if found == wanted else "incorrect", str(found))


# A sign counts where no other number or word is before it: 5-3 ends in 3, not in -3.
_ANY_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-+\u2212])?[$\u20ac\u00a3\u00a5]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,1000})(?:\.[0-9]{1,1000})?"
)
# Digits with commas or spaces between thousands; then at most a unit in words, a percent sign, a full stop.
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)\s*[$\u20ac\u00a3\u00a5]?\s*(?P<sign2>[-+\u2212]?)"
    r"(?P<digits>[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])|[0-9][0-9,]{0,999}|(?=\.[0-9]))"
    r"(?P<decimals>\.[0-9]{1,1000})?"
    r"\s*%?(?:\s+[^\W\d_][^\W\d_]*){0,5}\s*\.?"
)


def to_number(text: str) -> Fraction | None:
    """Read a number as GSM8K's answers are written, without rounding; None where the text is more or less than one."""
    match = _NUMBER.fullmatch(text.strip()[:3000])
    if match is None or (match["sign"] and match["sign2"]):
        return None
    digits = re.sub("[, ]", "", match["digits"]) or "0"
    number = Fraction(digits + (match["decimals"] or ""))
    return -number if (match["sign"] or match["sign2"]) in ("-", "\u2212") else number
