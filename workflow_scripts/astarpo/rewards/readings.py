"""What an answer is read as: its kind and what it consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "value", "words", "list", "tuple", "matrix", "equation", "relation", "set", "base", "time", "ratio", "approx"
]


@dataclass(frozen=True)
class Reading:
    """An answer, taken apart.

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


ReadElement = Callable[[str], Reading]  # what a reader calls for each element of what it reads
