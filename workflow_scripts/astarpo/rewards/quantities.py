"""Values with a unit, a percent sign or degrees."""

from __future__ import annotations

import re
from fractions import Fraction

from astarpo.rewards.brackets import is_one_bracket
from astarpo.rewards.units import Measured, differ, measured
from astarpo.rewards.values import plain_number, same_value

_PERCENT = re.compile(
    r"(?:\s*\\?%|\s*(?:\\text\{)?\s*\b(?:percent|percentage|pct|per cent)(?:age points?)?\s*\}?)\s*$",
    re.IGNORECASE,
)
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def same_quantity(gold: str, answer: str) -> bool:
    """Whether two values are equal, with their units and percent signs.

    A unit may be missing but must not differ, and a letter is a unit only if the gold answer has one.

    Args:
        gold, answer: normalised LaTeX.
    """
    first, second = _PERCENT.sub("", gold), _PERCENT.sub("", answer)
    if first != gold or second != answer:
        return _same_percentage(first, second, first != gold, second != answer)
    first, second = _radians(first), _radians(second)
    right, given = _measured(first), _measured(second)
    if right is None or given is None:
        return _letters(gold) == _letters(answer)
    if right.unit and not given.unit:
        given = _measured(second, letters=True) or given
    if differ(right.unit, given.unit):
        return False
    if same_value(_radians(right.value), _radians(given.value), Fraction(10) ** (given.power - right.power)):
        return True
    return "\\text" in gold + answer and _letters(gold) == _letters(answer) != ""


def _measured(text: str, letters: bool = False) -> Measured | None:
    quantity = measured(text, letters)
    if quantity is None or not is_one_bracket(quantity.value) or not quantity.value.startswith("("):
        return quantity
    return quantity._replace(value=quantity.value[1:-1].strip())  # (5) \text{ cm}


def _letters(text: str) -> str:
    r"""A text without its fonts, so that ``5 \text{m}`` equals ``5m``."""
    return re.sub(r"\\text|[{}]|(?<![0-9])\s|\s(?![0-9])", "", text)


def _radians(text: str) -> str:
    r"""Convert degrees in ``\sin 30^\circ`` to radians; without trigonometry they are a unit."""
    degree = r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))"
    if not _TRIGONOMETRY.search(text):
        return text
    return re.sub(rf"([0-9.]+){degree}", r"(\\frac{\1\\cdot \\pi}{180})", text)


def _same_percentage(gold: str, answer: str, gold_has: bool, answer_has: bool) -> bool:
    """28% is 28%, 28 and 0.28; 28 is 28%; 1 is 100%, not 1%; 0.5 is 50%, not 0.5%."""
    right, given = _measured(gold), _measured(answer)
    if right is None or given is None or right.unit or given.unit:
        return False
    gold, answer = right.value, given.value
    if gold_has and answer_has:
        return same_value(gold, answer)
    if gold_has:
        return same_value(gold, answer) or same_value(gold, answer, 100)
    whole = plain_number(gold)
    above_one = whole is not None and abs(whole) > 1
    return same_value(gold, answer, Fraction(1, 100)) or (above_one and same_value(gold, answer))
