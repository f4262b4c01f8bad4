"""LaTeX commands that mean the same, reduced to one each; sizes, spaces and fonts are removed."""

from __future__ import annotations

import re

from astarpo.rewards.functions import FUNCTIONS
from astarpo.rewards.markup import closing

_SIZES = re.compile(r"\\(?:left|right|middle)(?![A-Za-z])\s*\.|\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])\s*")
_EMPTY = re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|hfill|null|[hv]?phantom\s*\{[^{}]*\})(?![A-Za-z])")
_SPACES = re.compile(
    r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])|&nbsp;|\\thinspace(?![A-Za-z])|\\hspace\*?\s*\{[^{}]*\}|\s+"
)
_BRACKET_NAMES = {r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]"}
_VARIANTS = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:leqslant|leqq|leq)(?![A-Za-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geqq|geq)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\neq(?![A-Za-z])|(?<![0-9)!])\s!=(?!=)"), r"\\ne "),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:sfrac|nicefrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\ast(?![A-Za-z])"), "*"),
    (re.compile(r"\\l?dots(?![A-Za-z])|\\cdots(?![A-Za-z])"), "..."),
    (re.compile(r"\\(?:mathbb|mathbf)\s*\{?\s*R(?![A-Za-z])\s*\}?(?!\s*\^)"), r"\\mathbb{R}"),
    (re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])"), r"\\cup "),
    (re.compile(r"(?<=\\mathbb\{R\})\s*-\s*(?=\\\{)"), r"\\setminus "),
    (re.compile(r"\\(?:varnothing|empty)(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\(?:lbrace|lbrack|lvert|rvert|rbrace|rbrack)(?![A-Za-z])"), lambda m: _BRACKET_NAMES.get(m[0], "|")),
    (re.compile(r"\\(?:Reals|R)(?![A-Za-z])"), r"\\mathbb{R}"),
    (re.compile(r"\\(?:simeq|thickapprox|doteq)(?![A-Za-z])"), r"\\approx "),
    (re.compile(r"(?<![A-Za-z])(?:np|numpy|math|sympy|sp)\."), ""),
    (re.compile(r"(?<!\\)\$"), ""),
)


def one_command_each(text: str) -> str:
    r"""Replace synonymous commands with one of them: ``\leq`` by ``\le``, ``\dfrac`` by ``\frac``."""
    text = _EMPTY.sub("", _SIZES.sub(" ", text)).replace("\\!", "")
    text = _SPACES.sub(" ", text)
    for pattern, replacement in _VARIANTS:
        text = pattern.sub(replacement, text)
    return text


_FONT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|textnormal|textup|mbox|hbox|mathrm|mathbf|mathit|mathsf|mathtt|boldsymbol"
    r"|bm|emph|underline|operatorname|bold)\*?\s*\{(?P<inside>[^{}]*)\}"
)
_COLOUR = re.compile(r"\\(?:textcolor|color)\s*\{[^{}]*\}\s*(?:\{(?P<inside>[^{}]*)\})?")


def without_fonts(text: str) -> str:
    r"""Remove fonts from numbers and names; wrap words, and letters that may be units, in ``\text{}``."""
    text = _COLOUR.sub(lambda m: m["inside"] or "", text)
    for _ in range(3):  # nested fonts
        text = _FONT.sub(_without_font, text)
    return text


def _without_font(match: re.Match[str]) -> str:
    inside = match["inside"].strip()
    if re.fullmatch(r"[-+]?[0-9.,]+", inside):
        return inside
    if inside in FUNCTIONS:
        return f"\\{inside} "
    if inside in ("lcm", "gcd"):
        return f"\\operatorname{{{inside}}}"
    if match[0].startswith(r"\operatorname") or inside in ("i", "e"):
        return inside
    return f"\\text{{{match['inside']}}}" if inside else " "


def over_as_fraction(text: str) -> str:
    r"""Rewrite ``{1 \over 2}`` as ``\frac{1}{2}``."""
    for _ in range(8):
        place = re.search(r"\\over(?![A-Za-z])", text)
        if place is None:
            return text
        left, depth = place.start(), 0
        while left > 0 and not (text[left - 1] == "{" and depth == 0):
            left -= 1
            depth += {"}": 1, "{": -1}.get(text[left], 0)
        end = closing(text, place.end()) if left > 0 else len(text)
        if end is None:
            return text
        upper, lower = text[left : place.start()], text[place.end() : end]
        text = f"{text[:left]}\\frac{{{upper.strip()}}}{{{lower.strip()}}}{text[end:]}"
    return text
