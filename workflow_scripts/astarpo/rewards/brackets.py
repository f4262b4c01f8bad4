"""Splitting formulas outside of brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator

_OPEN = r"\\begin\{[a-z]+\*?\}(?:\{[^{}]*\})?|\\\{|\\lfloor(?![a-z])|\\lceil(?![a-z])|\\langle(?![a-z])|[({\[]"
_CLOSE = r"\\end\{[a-z]+\*?\}|\\\}|\\rfloor(?![a-z])|\\rceil(?![a-z])|\\rangle(?![a-z])|[)}\]]"


def cuts(text: str, separator: str) -> Iterator[re.Match[str]]:
    """Find a pattern outside of all brackets; any closing bracket matches any opening one, as in ``[0,1)``."""
    depth = 0
    tokens = rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})|(?P<cut>{separator})|\\[A-Za-z]+|\\.|."
    for match in re.finditer(tokens, text, re.DOTALL):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth = max(0, depth - 1)
        elif match["cut"] and depth == 0:
            yield match


def split(text: str, separator: str) -> list[str]:
    """Split a text wherever a pattern matches outside of all brackets."""
    pieces, place = [], 0
    for match in cuts(text, separator):
        pieces.append(text[place : match.start()])
        place = match.end()
    return [piece.strip() for piece in [*pieces, text[place:]]]


def is_one_bracket(text: str) -> bool:
    """Whether one pair of brackets encloses a whole text."""
    depth = 0
    tokens = rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})|\\[A-Za-z]+|\\.|."
    for match in re.finditer(tokens, text, re.DOTALL):
        depth += 1 if match["open"] else -1 if match["close"] else 0
        if depth <= 0:
            return match.end() == len(text)
    return False
