"""Parsed answers: their kinds and elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "value", "words", "list", "tuple", "matrix", "equation", "relation", "set", "base", "time", "ratio", "approx"
]


@dataclass(frozen=True)
class Reading:
    """A parsed answer.

    Attributes:
        kind: ``list`` is any number of values without order, ``approx`` two spellings of one value.
        text: normalised LaTeX.
        elements: values of a list or tuple, sides of an equation, rows of a matrix.
        mark: the brackets of a tuple, the base of a number, "," if a number could be a list: ``1,234``.
        name: the variable that has this value or lies in this interval; "" if there is none.
    """

    kind: Kind
    text: str
    elements: tuple[Reading, ...] = ()
    mark: str = ""
    name: str = ""


ReadElement = Callable[[str], Reading]  # called by readers for each element
