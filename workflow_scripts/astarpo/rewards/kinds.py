r"""What kind of thing an answer is: read from the brackets, commas and relations around its values.

A tuple, an interval, several values, a matrix, an equation and a value are different things, and are never equal.
``(0,1)`` can be a tuple or an interval, so both are the kind ``tuple`` with their brackets, and a bare inequality
is the interval that it means. ``\pm`` means two values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from astarpo.rewards.brackets import cuts, is_one_bracket, split
from astarpo.rewards.names import is_variable, name_of
from astarpo.rewards.phrases import are_words, out_of_phrase

Kind = Literal[
    "value", "words", "list", "tuple", "matrix", "equation", "relation", "set", "base", "time", "ratio", "approx"
]
DEEPEST = 8  # brackets within brackets


@dataclass(frozen=True)
class Reading:
    """An answer taken apart.

    Attributes:
        kind: what it is. ``list`` is any number of values without order, ``approx`` two spellings of one value.
        text: LaTeX in the one spelling.
        parts: what it consists of; left and right side of an equation; rows of a matrix.
        mark: the brackets of a tuple, the base of a number, "," of a number that could be a list: ``1,234``.
        name: the variable that has this value or lies in this interval; "" where none is named.
    """

    kind: Kind
    text: str
    parts: tuple[Reading, ...] = ()
    mark: str = ""
    name: str = ""


@lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
    """Read an answer as it stands in a box or in a data set."""
    return read_spelled(out_of_phrase(answer))


def read_spelled(text: str, depth: int = 0) -> Reading:
    """Read LaTeX in the one spelling."""
    text = text.strip()
    if depth > DEEPEST:
        return Reading("value", text)
    for reader in _READERS:
        reading = reader(text, depth + 1)
        if reading is not None:
            return reading
    return Reading("words" if are_words(text) else "value", text)


# The kinds, in the order in which they are tried

_CLOCK = re.compile(
    r"(?P<hours>[0-9]{1,2})(?::(?P<minutes>[0-5][0-9]))?(?P<seconds>:[0-5][0-9])?\s*(?P<half>[ap]\.?\s?m\b\.?)?",
    re.IGNORECASE,
)


def _time(text: str, depth: int) -> Reading | None:
    """``6:30 p.m.``; without minutes only with one of its halves of the day."""
    match = _CLOCK.fullmatch(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).strip())
    if match is None or not (match["half"] or match["minutes"]) or int(match["hours"]) > 24:
        return None
    hours, minutes = int(match["hours"]), match["minutes"] or "00"
    half = (match["half"] or "")[:1].lower()
    if half == "p" and hours < 12:  # as 18:30
        hours, half = hours + 12, ""
    return Reading("time", f"{hours}:{minutes}{match['seconds'] or ''}{half}")


def _ratio(text: str, depth: int) -> Reading | None:
    parts = split(text, ":")
    if len(parts) == 1 or not all(parts) or re.search(r"[=<>|]|\\(?:in|mid|to)\b", text) or are_words(parts[0]):
        return None
    return Reading("ratio", text, tuple(read_spelled(part, depth) for part in parts))


def _approximation(text: str, depth: int) -> Reading | None:
    parts = split(text, r"\\approx(?![A-Za-z])")
    if len(parts) != 2 or not all(parts):
        return None
    if is_variable(parts[0]):
        return read_spelled("=".join(parts), depth)
    return Reading("approx", text, tuple(read_spelled(part, depth) for part in parts))


_CONJUNCTION = (
    r"(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\text\{\s*[,;]?\s*(?:and|or|y|o)\s*[,:]?\s*\}"
    r"|\\(?:lor|land|vee|wedge)(?![A-Za-z])"
)
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9,])")
_NUMBER = re.compile(rf"{_THOUSANDS.pattern}|[-+]?[0-9]+(?:\.[0-9]+)?")
_LIST_IN_WORDS = re.compile(r"\\text\{([^{}]*(?:,|\b(?:and|or)\b)[^{}]*)\}")


def _several(text: str, depth: int) -> Reading | None:
    """Values between commas, semicolons, "and" or "or"; ``1,234`` is one, and so is 0,111 (math-verify's rule)."""
    if _LIST_IN_WORDS.fullmatch(text):
        text = _LIST_IN_WORDS.sub(r"\1", text)
    parts = split(text, f",|{_CONJUNCTION}")
    thousands = _THOUSANDS.match(text)
    if thousands is not None and len(parts) == thousands.group().count(",") + 1:
        one = read_spelled(text.replace(",", ""), depth)
        return replace(one, mark=",", parts=tuple(read_spelled(part, depth) for part in parts))
    if re.fullmatch(r"-?0,[0-9]{3}", text):
        return read_spelled(text.replace(",", "."), depth)
    # Semicolons separate more than commas do, and commas with a blank more than 1,234 does.
    for wider in (";", rf",\s+|{_CONJUNCTION}"):
        groups = split(text, wider)
        if len(groups) > 1 and (wider == ";" or all(map(_NUMBER.fullmatch, groups))):
            parts = groups
            break
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return read_spelled(parts[0], depth) if parts and parts[0] != text else None
    alternatives = not re.search(r",|;|\band\b|\\land|\\wedge", text)
    return listed(text, tuple(read_spelled(part, depth) for part in parts), alternatives)


def listed(text: str, readings: tuple[Reading, ...], alternatives: bool = False) -> Reading:
    r"""Several values; ``x=1, 2`` and ``x=1, x=2`` are two values of x, and ``\pm1, 3`` are three.

    Intervals of one variable are a union, if an "or" and nothing else is between them.
    """
    names = {part.name for part in readings}
    if alternatives and len(names) == 1 and "" not in names and all(map(_is_interval, readings)):
        return Reading("set", r"\cup ".join(part.text for part in readings), readings, name=readings[0].name)
    flat = tuple(
        one for part in readings for one in (part.parts if part.kind == "list" and part.mark == "pm" else (part,))
    )
    given = [part.name if part.kind == "equation" else "" for part in flat]
    if given[0] and (len(set(given)) == 1 or not any(given[1:])):
        flat = tuple(part.parts[1] if part.kind == "equation" else part for part in flat)
        return Reading("list", text, flat, name=given[0])
    return Reading("list", text, flat)


_SET_SIGNS = re.compile(
    r"\\(?:cup|cap|setminus|emptyset|mathbb|backslash|bigcup|complement|infty\}?\s*\\cup)(?![A-Za-z])"
)
_MEMBER = re.compile(r"\s*(?P<name>\\?[A-Za-z]+(?:_\{?\w+\}?)?)\s*\\in(?![A-Za-z])\s*")


def _set(text: str, depth: int) -> Reading | None:
    member = _MEMBER.match(text)
    if member is not None:
        return replace(read_spelled(text[member.end() :], depth), name=member["name"])
    if _SET_SIGNS.search(text) and not re.search(r"\\mid|\||:|=|\\text", text):
        return Reading("set", text)
    return None


_RELATION = r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]"
_MIRROR = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}


def _relation(text: str, depth: int) -> Reading | None:
    r"""``0<x\le 2`` is ``(0,2]`` of x; what bounds no single variable stays a relation."""
    signs = [match.group() for match in cuts(text, _RELATION)]
    if not signs:
        return None
    sides = split(text, _RELATION)
    if len(sides) == 2 and is_variable(sides[1]) and not is_variable(sides[0]):
        sides, signs = sides[::-1], [_MIRROR[signs[0]]]
    if len(sides) == 2 and is_variable(sides[0]) and sides[1]:
        return _half_line(sides[0], signs[0], sides[1], depth)
    if len(sides) == 3 and is_variable(sides[1]) and all(sides):
        upward = {"<", r"\le"}.issuperset(signs)
        if upward or {">", r"\ge"}.issuperset(signs):
            low, high, left, right = (sides[0], sides[2], *signs) if upward else (sides[2], sides[0], *signs[::-1])
            brackets = ("[" if "e" in left else "(") + ("]" if "e" in right else ")")
            return _interval(low, high, brackets, sides[1], depth)
    return Reading("relation", text)


def _half_line(name: str, sign: str, bound: str, depth: int) -> Reading:
    if sign == r"\ne":
        return Reading("set", rf"(-\infty,{bound})\cup({bound},\infty)", name=name)
    if sign in ("<", r"\le"):
        return _interval(r"-\infty", bound, "(]" if "e" in sign else "()", name, depth)
    return _interval(bound, r"\infty", "[)" if "e" in sign else "()", name, depth)


def _interval(low: str, high: str, brackets: str, name: str, depth: int) -> Reading:
    parts = (read_spelled(low, depth), read_spelled(high, depth))
    return Reading("tuple", f"{brackets[0]}{low},{high}{brackets[1]}", parts, brackets, name)


def _is_interval(reading: Reading) -> bool:
    return reading.kind == "tuple" and len(reading.parts) == 2


def _equation(text: str, depth: int) -> Reading | None:
    sides = split(text, r"=+")
    if len(sides) < 2 or not all(sides):
        return None
    if len(sides) == 2 and is_variable(sides[1]) and _NUMBER.fullmatch(sides[0]):
        sides = sides[::-1]  # 5=x
    left, right = sides[0], sides[-1]
    parts = (Reading("value", left), read_spelled(right, depth))
    return Reading("equation", text, parts, mark="" if len(sides) == 2 else "chain", name=name_of(left))


_MATRIX = re.compile(
    r"\(?\s*\\begin\{(?P<kind>[pb]?matrix|array)\}(?:\{[^{}]*\})?(?P<inside>.*)\\end\{(?P=kind)\}\s*\)?",
    re.DOTALL,
)


def _matrix(text: str, depth: int) -> Reading | None:
    match = _MATRIX.fullmatch(text.removeprefix("[").removesuffix("]"))
    if match is None or "\\begin" in match["inside"]:
        return None
    rows = [
        row
        for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr(?![A-Za-z])", match["inside"])
        if row.replace(r"\hline", "").strip()
    ]
    return Reading(
        "matrix",
        text,
        tuple(
            Reading("tuple", row, tuple(read_spelled(cell, depth) for cell in row.split("&")), "row") for row in rows
        ),
    )


_MARKS = {r"\langle": "(", r"\rangle": ")"}  # <1,2> is the vector (1,2)


def _bracketed(text: str, depth: int) -> Reading | None:
    opening = next((one for one in (r"\{", r"\langle", "(", "[") if text.startswith(one)), None)
    if opening is None:
        return None
    closing = next((one for one in (r"\}", r"\rangle", ")", "]") if text.endswith(one)), "")
    inside = text[len(opening) : len(text) - len(closing)].strip()
    if not closing or not is_one_bracket(text) or (opening == r"\{") != (closing == r"\}"):
        return None
    parts = split(inside, "[,;]")
    if opening == r"\{":
        if re.search(r"\\mid(?![A-Za-z])|\||:", inside):
            return _those_with(inside, depth)
        if not inside:
            return Reading("set", r"\emptyset")
        return listed(text, tuple(read_spelled(part, depth) for part in parts if part))
    if not all(parts):
        return None
    if len(parts) == 1 and (opening, closing) == ("(", ")"):
        return read_spelled(inside, depth)
    return Reading(
        "tuple",
        text,
        tuple(read_spelled(part, depth) for part in parts),
        _MARKS.get(opening, opening) + _MARKS.get(closing, closing),
    )


_SUCH_THAT = re.compile(
    r"(?P<name>[A-Za-z])(?:\s*\\in\s*\\mathbb\{R\})?\s*(?:\\mid(?![A-Za-z])|\||:)\s*(?P<condition>.*)"
)


def _those_with(inside: str, depth: int) -> Reading | None:
    r"""``\{x \mid 0<x<1\}`` is the interval that the condition on x says, without a name."""
    match = _SUCH_THAT.fullmatch(inside)
    if match is None:
        return None
    reading = read_spelled(match["condition"], depth)
    interval = reading.kind == "set" or _is_interval(reading)
    return replace(reading, name="") if interval and reading.name == match["name"] else None


def _plus_minus(text: str, depth: int) -> Reading | None:
    if not re.search(r"\\(?:pm|mp)(?![A-Za-z])", text):
        return None
    both = [
        re.sub(r"\\pm(?![A-Za-z])", f" {plus} ", re.sub(r"\\mp(?![A-Za-z])", f" {minus} ", text))
        for plus, minus in (("+", "-"), ("-", "+"))
    ]
    return Reading("list", text, tuple(read_spelled(one, depth) for one in both), "pm")


_DIGITS = r"(?P<sign>-?)\(?(?P<digits>[0-9A-Za-z]*[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)?|[A-F]{2,})\)?"
_BASE = re.compile(
    rf"{_DIGITS}\s*(?:_\s*(?:\{{\s*\(?\s*(?:base|\\text\{{\s*base\s*\}})?\s*(?P<base>[0-9]{{1,2}})\s*\)?\s*\}}"
    r"|(?P<bare>[0-9]{1,2}))|(?:\\text\{\s*)?\(?\s*base\s*\}?\s*(?P<said>[0-9]{1,2})\s*\)?\s*\}?)"
)
_BASES_IN_WORDS = {
    name: str(base)
    for base, name in enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 2)
}


def _in_base(text: str, depth: int) -> Reading | None:
    text = re.sub(r"_\{([a-z]+)\}$", lambda m: f"_{{{_BASES_IN_WORDS.get(m[1], m[1])}}}", text)
    match = _BASE.fullmatch(re.sub(r"\\text\{([0-9A-Z]+)\}", r"\1", text))
    if match is None:
        return None
    base = match["base"] or match["bare"] or match["said"]
    return Reading("base", match["sign"] + (match["digits"].upper().lstrip("0") or "0"), mark=base)


# Tried in this order: what binds least comes first.
_READERS = (
    _time,
    _ratio,
    _approximation,
    _several,
    _set,
    _relation,
    _equation,
    _matrix,
    _bracketed,
    _plus_minus,
    _in_base,
)
