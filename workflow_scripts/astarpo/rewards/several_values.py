"""Parsing of several values: lists, tuples, sets in braces, matrices, plus or minus."""

from __future__ import annotations

import re
from dataclasses import replace

from astarpo.rewards.brackets import is_one_bracket, split
from astarpo.rewards.intervals import is_interval, read_condition
from astarpo.rewards.readings import ReadElement, Reading

_CONJUNCTION = (
    r"(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\text\{\s*[,;]?\s*(?:and|or|y|o)\s*[,:]?\s*\}"
    r"|\\(?:lor|land|vee|wedge)(?![A-Za-z])"
)
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9,])")
NUMBER = re.compile(rf"{_THOUSANDS.pattern}|[-+]?[0-9]+(?:\.[0-9]+)?")
_LIST_IN_WORDS = re.compile(r"\\text\{([^{}]*(?:,|\b(?:and|or)\b)[^{}]*)\}")


def read_list(text: str, read_element: ReadElement) -> Reading | None:
    """Read values separated by commas, semicolons, "and" or "or"; 1,234 and, as in math-verify, 0,111 are one value."""
    if _LIST_IN_WORDS.fullmatch(text):
        text = _LIST_IN_WORDS.sub(r"\1", text)
    elements = split(text, f",|{_CONJUNCTION}")
    thousands = _THOUSANDS.match(text)
    if thousands is not None and len(elements) == thousands.group().count(",") + 1:
        one = read_element(text.replace(",", ""))
        return replace(one, mark=",", elements=tuple(read_element(element) for element in elements))
    if re.fullmatch(r"-?0,[0-9]{3}", text):
        return read_element(text.replace(",", "."))
    # Semicolons bind more loosely than commas, and commas with a blank more loosely than those in 1,234.
    for wider in (";", rf",\s+|{_CONJUNCTION}"):
        groups = split(text, wider)
        if len(groups) > 1 and (wider == ";" or all(map(NUMBER.fullmatch, groups))):
            elements = groups
            break
    elements = [element for element in elements if element]
    if len(elements) < 2:
        return read_element(elements[0]) if elements and elements[0] != text else None
    alternatives = not re.search(r",|;|\band\b|\\land|\\wedge", text)
    return listed(text, tuple(read_element(element) for element in elements), alternatives)


def listed(text: str, readings: tuple[Reading, ...], alternatives: bool = False) -> Reading:
    r"""Make a list of readings: ``x=1, 2`` and ``x=1, x=2`` are two values of x; ``\pm1, 3`` are three values.

    Intervals of one variable joined only by "or" are a union.
    """
    names = {element.name for element in readings}
    if alternatives and len(names) == 1 and "" not in names and all(map(is_interval, readings)):
        return Reading("set", r"\cup ".join(element.text for element in readings), readings, name=readings[0].name)
    flat = tuple(
        value
        for reading in readings
        for value in (reading.elements if reading.kind == "list" and reading.mark == "pm" else (reading,))
    )
    given = [element.name if element.kind == "equation" else "" for element in flat]
    if given[0] and (len(set(given)) == 1 or not any(given[1:])):
        flat = tuple(element.elements[1] if element.kind == "equation" else element for element in flat)
        return Reading("list", text, flat, name=given[0])
    return Reading("list", text, flat)


_MATRIX = re.compile(
    r"\(?\s*\\begin\{(?P<kind>[pb]?matrix|array)\}(?:\{[^{}]*\})?(?P<inside>.*)\\end\{(?P=kind)\}\s*\)?",
    re.DOTALL,
)


def read_matrix(text: str, read_element: ReadElement) -> Reading | None:
    """Read the rows of a matrix or array; nested ones are not supported."""
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
        tuple(Reading("tuple", row, tuple(read_element(cell) for cell in row.split("&")), "row") for row in rows),
    )


_MARKS = {r"\langle": "(", r"\rangle": ")"}  # <1,2> is the vector (1,2)


def read_bracketed(text: str, read_element: ReadElement) -> Reading | None:
    """Read a tuple or interval, a set in braces, or a value in round brackets."""
    opening = next((one for one in (r"\{", r"\langle", "(", "[") if text.startswith(one)), None)
    if opening is None:
        return None
    closing = next((one for one in (r"\}", r"\rangle", ")", "]") if text.endswith(one)), "")
    inside = text[len(opening) : len(text) - len(closing)].strip()
    if not closing or not is_one_bracket(text) or (opening == r"\{") != (closing == r"\}"):
        return None
    elements = split(inside, "[,;]")
    if opening == r"\{":
        if re.search(r"\\mid(?![A-Za-z])|\||:", inside):
            return read_condition(inside, read_element)
        if not inside:
            return Reading("set", r"\emptyset")
        return listed(text, tuple(read_element(element) for element in elements if element))
    if not all(elements):
        return None
    if len(elements) == 1 and (opening, closing) == ("(", ")"):
        return read_element(inside)
    return Reading(
        "tuple",
        text,
        tuple(read_element(element) for element in elements),
        _MARKS.get(opening, opening) + _MARKS.get(closing, closing),
    )


def read_plus_minus(text: str, read_element: ReadElement) -> Reading | None:
    r"""Read ``3\pm 1`` as the unordered values 3+1 and 3-1."""
    if not re.search(r"\\(?:pm|mp)(?![A-Za-z])", text):
        return None
    both = [
        re.sub(r"\\pm(?![A-Za-z])", f" {plus} ", re.sub(r"\\mp(?![A-Za-z])", f" {minus} ", text))
        for plus, minus in (("+", "-"), ("-", "+"))
    ]
    return Reading("list", text, tuple(read_element(value) for value in both), "pm")
