"""Fractions without braces, mixed numbers and repeating decimals."""

from __future__ import annotations

import re

_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,20})\.([0-9]{0,20})(?:\\(?:overline|bar|dot)\s*\{([0-9]+)\}|\\(?:bar|dot)\s*([0-9])|\(([0-9]+)\))(?![0-9])"
)

# A digit that occurs three times before the dots.
_ELLIPSIS = re.compile(r"(?<![0-9.])([0-9]{0,20})\.([0-9]{0,20}?)([0-9])\3{2,20}\s?\.\.\.(?![0-9.])")


def repeating_decimals_as_fractions(text: str) -> str:
    r"""Rewrite ``0.1\overline{6}`` and ``0.1666...`` as ``(16-1)/90``; ``0.16...`` is unchanged."""

    def fraction(match: re.Match[str]) -> str:
        whole, head = match[1] or "0", match[2]
        tail = next(group for group in match.groups()[2:] if group)
        top = int(whole + head + tail) - int(whole + head)
        return f"\\frac{{{top}}}{{{'9' * len(tail) + '0' * len(head)}}}"

    return _ELLIPSIS.sub(fraction, _REPEATING.sub(fraction, text))


_LOOSE_FRACTION = re.compile(r"\\frac\s*(?:([0-9A-Za-z])\s*([0-9A-Za-z])|([0-9A-Za-z])\s*(?=\{))")
_HALF_LOOSE = re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])")
_MIXED = re.compile(
    r"(?<![0-9A-Za-z.,_^}\\/])(?<![0-9A-Za-z)}/] )([0-9]+)\s*"
    r"(?:\\frac\s*\{\s*([0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}|(?<=[0-9])\s([0-9]+)\s?/\s?([0-9]+))(?![0-9.!^])"
)


def braced_fractions(text: str) -> str:
    r"""Add braces to ``\frac12``, and write ``1\frac12`` or ``1 1/2`` as a sum; ``4 10/3`` is not a mixed number."""
    text = _LOOSE_FRACTION.sub(lambda m: f"\\frac{{{m[1]}}}{{{m[2]}}}" if m[1] else f"\\frac{{{m[3]}}}", text)
    text = _HALF_LOOSE.sub(r"\1{\2}", text)

    def mixed(match: re.Match[str]) -> str:
        top, bottom = match[2] or match[4], match[3] or match[5]
        if len(bottom) > 12 or not 0 < int(top) < int(bottom):
            return match[0]
        return f"({match[1]}+\\frac{{{top}}}{{{bottom}}})"

    return _MIXED.sub(mixed, text)
