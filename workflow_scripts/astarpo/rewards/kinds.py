r"""The kind of an answer, determined by the brackets, commas and relations around its values.

A tuple, several values, a matrix, an equation and a value are different kinds; `comparison` lists the few pairs that
can be equal. ``(0,1)`` may be a tuple or an interval, so both have the kind ``tuple``, with their brackets. A bare
inequality is the interval that it describes. ``\pm`` stands for two values.
"""

from __future__ import annotations

import re
from functools import lru_cache

from astarpo.rewards.brackets import split
from astarpo.rewards.intervals import read_relation, read_set
from astarpo.rewards.names import is_variable, name_of
from astarpo.rewards.phrases import are_words, out_of_phrase
from astarpo.rewards.readings import ReadElement, Reading
from astarpo.rewards.several_values import (
    NUMBER,
    read_bracketed,
    read_list,
    read_matrix,
    read_plus_minus,
)

DEEPEST = 8  # nested brackets


@lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
    """Read an answer from a box or a data set."""
    return read_spelled(out_of_phrase(answer))


def read_spelled(text: str, depth: int = 0) -> Reading:
    """Read normalised LaTeX."""
    text = text.strip()
    if depth > DEEPEST:
        return Reading("value", text)

    def read_element(element: str) -> Reading:
        return read_spelled(element, depth + 1)

    for reader in _READERS:
        reading = reader(text, read_element)
        if reading is not None:
            return reading
    return Reading("words" if are_words(text) else "value", text)


_CLOCK = re.compile(
    r"(?P<hours>[0-9]{1,2})(?::(?P<minutes>[0-5][0-9]))?(?P<seconds>:[0-5][0-9])?\s*(?P<half>[ap]\.?\s?m\b\.?)?",
    re.IGNORECASE,
)


def _time(text: str, read_element: ReadElement) -> Reading | None:
    """Read ``6:30 p.m.``; without minutes, a.m. or p.m. is required."""
    match = _CLOCK.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).strip())
    if match is None or not (match["half"] or match["minutes"]) or int(match["hours"]) > 24:
        return None
    hours, minutes = int(match["hours"]), match["minutes"] or "00"
    half = (match["half"] or "")[:1].lower()
    if half == "p" and hours < 12:  # as 18:30
        hours, half = hours + 12, ""
    return Reading("time", f"{hours}:{minutes}{match['seconds'] or ''}{half}")


def _ratio(text: str, read_element: ReadElement) -> Reading | None:
    terms = split(text, ":")
    if len(terms) == 1 or not all(terms) or re.search(r"[=<>|]|\\(?:in|mid|to)\b", text) or are_words(terms[0]):
        return None
    return Reading("ratio", text, tuple(read_element(term) for term in terms))


def _approximation(text: str, read_element: ReadElement) -> Reading | None:
    sides = split(text, r"\\approx(?![A-Za-z])")
    if len(sides) != 2 or not all(sides):
        return None
    if is_variable(sides[0]):
        return read_element("=".join(sides))
    return Reading("approx", text, tuple(read_element(side) for side in sides))


def _equation(text: str, read_element: ReadElement) -> Reading | None:
    sides = split(text, r"=+")
    if len(sides) < 2 or not all(sides):
        return None
    if len(sides) == 2 and is_variable(sides[1]) and NUMBER.fullmatch(sides[0]):
        sides = sides[::-1]  # 5=x
    left, right = sides[0], sides[-1]
    elements = (Reading("value", left), read_element(right))
    return Reading("equation", text, elements, mark="" if len(sides) == 2 else "chain", name=name_of(left))


_DIGITS = r"(?P<sign>-?)\(?(?P<digits>[0-9A-Za-z]*[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)?|[A-F]{2,})\)?"
_BASE = re.compile(
    rf"{_DIGITS}\s*(?:_\s*(?:\{{\s*\(?\s*(?:base|\\text\{{\s*base\s*\}})?\s*(?P<base>[0-9]{{1,2}})\s*\)?\s*\}}"
    r"|(?P<bare>[0-9]{1,2}))|(?:\\text\{\s*)?\(?\s*base\s*\}?\s*(?P<suffix>[0-9]{1,2})\s*\)?\s*\}?)"
)
_BASES_IN_WORDS = {
    name: str(base)
    for base, name in enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 2)
}


def _in_base(text: str, read_element: ReadElement) -> Reading | None:
    text = re.sub(r"_\{([a-z]+)\}$", lambda m: f"_{{{_BASES_IN_WORDS.get(m[1], m[1])}}}", text)
    match = _BASE.fullmatch(re.sub(r"\\text\{([0-9A-Z]+)\}", r"\1", text))
    if match is None:
        return None
    base = match["base"] or match["bare"] or match["suffix"]
    return Reading("base", match["sign"] + (match["digits"].upper().lstrip("0") or "0"), mark=base)


# Tried in this order, from the loosest binding to the tightest.
_READERS = (
    _time,
    _ratio,
    _approximation,
    read_list,
    read_set,
    read_relation,
    _equation,
    read_matrix,
    read_bracketed,
    read_plus_minus,
    _in_base,
)
