"""Names of variables and of the quantities in equations."""

from __future__ import annotations

import re

from astarpo.rewards.functions import FUNCTIONS

_VARIABLE = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?|[A-Za-z]\([A-Za-z]\)")
_CONSTANTS = (r"\infty", r"\pi", "e")
_SUBSCRIPT = re.compile(r"_\{[^{}]*\}|_[A-Za-z0-9]")
_CALL = re.compile(r"\\?[A-Za-z]+(?:\^\{-1\})?\s*\([^()=]*\)")
_NAMING = re.compile(r"\\(?:angle|triangle|text|frac|overline|vec|measuredangle|max|min)(?![A-Za-z])")
_TERM = re.compile(r"[A-Za-z]|\\[A-Za-z]+|[A-Z]{2,3}")
_COMPUTED = re.compile(rf"[0-9^!|]|\\(?:{'|'.join(FUNCTIONS)}|pi|infty)(?![A-Za-z])")


def is_variable(text: str) -> bool:
    """Whether a text is one variable, such as ``x``, ``x_1`` or ``f(x)``, and not a constant."""
    return bool(_VARIABLE.fullmatch(text)) and text not in _CONSTANTS


def name_of(text: str) -> str:
    r"""The quantity that an equation defines: ``x``, ``f(x)``, ``AB``, ``m+n``, ``(x,y)``.

    Args:
        text: its left side.

    Returns:
        The text without blanks; "" if it is an expression, as in ``2x+y``, ``x^2`` or ``ry+x``.
    """
    squeezed = re.sub(r"\s", "", text)
    rest = re.sub(r"\|([A-Za-z]+)\|", r"\1", _SUBSCRIPT.sub("", text))
    if _CALL.fullmatch(rest):
        return squeezed
    rest = _NAMING.sub("", rest)
    terms = re.split("[-+]", rest)
    if len(terms) > 1 and not all(_TERM.fullmatch(term.strip()) for term in terms):
        return ""
    return "" if _COMPUTED.search(rest) or not re.search("[A-Za-z]", rest) else squeezed
