"""Parsing of sets and inequalities; an inequality in one variable is an interval."""

from __future__ import annotations

import re
from dataclasses import replace

from astarpo.rewards.brackets import cuts, split
from astarpo.rewards.names import is_variable
from astarpo.rewards.readings import ReadElement, Reading

_SET_SIGNS = re.compile(
    r"\\(?:cup|cap|setminus|emptyset|mathbb|backslash|bigcup|complement|infty\}?\s*\\cup)(?![A-Za-z])"
)
_MEMBER = re.compile(r"\s*(?P<name>\\?[A-Za-z]+(?:_\{?\w+\}?)?)\s*\\in(?![A-Za-z])\s*")


def read_set(text: str, read_element: ReadElement) -> Reading | None:
    r"""Read ``x \in (0,1)``, a named interval, or an expression with a sign of set theory."""
    member = _MEMBER.match(text)
    if member is not None:
        return replace(read_element(text[member.end() :]), name=member["name"])
    if _SET_SIGNS.search(text) and not re.search(r"\\mid|\||:|=|\\text", text):
        return Reading("set", text)
    return None


_RELATION = r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]"
_MIRROR = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}


def read_relation(text: str, read_element: ReadElement) -> Reading | None:
    r"""Read ``0<x\le 2`` as ``(0,2]`` with the name x; what does not bound a single variable stays a relation."""
    signs = [match.group() for match in cuts(text, _RELATION)]
    if not signs:
        return None
    sides = split(text, _RELATION)
    if len(sides) == 2 and is_variable(sides[1]) and not is_variable(sides[0]):
        sides, signs = sides[::-1], [_MIRROR[signs[0]]]
    if len(sides) == 2 and is_variable(sides[0]) and sides[1]:
        return _half_line(sides[0], signs[0], sides[1], read_element)
    if len(sides) == 3 and is_variable(sides[1]) and all(sides):
        upward = {"<", r"\le"}.issuperset(signs)
        if upward or {">", r"\ge"}.issuperset(signs):
            low, high, left, right = (sides[0], sides[2], *signs) if upward else (sides[2], sides[0], *signs[::-1])
            brackets = ("[" if "e" in left else "(") + ("]" if "e" in right else ")")
            return _interval(low, high, brackets, sides[1], read_element)
    return Reading("relation", text)


def _half_line(name: str, sign: str, bound: str, read_element: ReadElement) -> Reading:
    if sign == r"\ne":
        return Reading("set", rf"(-\infty,{bound})\cup({bound},\infty)", name=name)
    if sign in ("<", r"\le"):
        return _interval(r"-\infty", bound, "(]" if "e" in sign else "()", name, read_element)
    return _interval(bound, r"\infty", "[)" if "e" in sign else "()", name, read_element)


def _interval(low: str, high: str, brackets: str, name: str, read_element: ReadElement) -> Reading:
    bounds = (read_element(low), read_element(high))
    return Reading("tuple", f"{brackets[0]}{low},{high}{brackets[1]}", bounds, brackets, name)


def is_interval(reading: Reading) -> bool:
    """Whether a reading may be an interval: a pair in brackets."""
    return reading.kind == "tuple" and len(reading.elements) == 2


_SUCH_THAT = re.compile(
    r"(?P<name>[A-Za-z])(?:\s*\\in\s*\\mathbb\{R\})?\s*(?:\\mid(?![A-Za-z])|\||:)\s*(?P<condition>.*)"
)


def read_condition(inside: str, read_element: ReadElement) -> Reading | None:
    r"""Read the inside of ``\{x \mid 0<x<1\}`` as the interval that the condition describes, without a name."""
    match = _SUCH_THAT.fullmatch(inside)
    if match is None:
        return None
    reading = read_element(match["condition"])
    interval = reading.kind == "set" or is_interval(reading)
    return replace(reading, name="") if interval and reading.name == match["name"] else None
