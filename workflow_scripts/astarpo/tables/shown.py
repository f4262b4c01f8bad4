"""Tables for people: cells of plain text with marks, independent of any output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from astarpo.tables.ranking import NO_MARK, Mark

Head = str | tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A cell: its text, further text such as an interval, and its place among the runs."""

    text: str
    more: str = ""
    mark: Mark = NO_MARK

    def __str__(self) -> str:
        return " ".join(filter(None, (self.text, self.mark.sign, self.more)))


@dataclass(frozen=True)
class ShownTable:
    """A table with its title.

    Attributes:
        title: a sentence without the full stop.
        cells: a data frame of `Cell`; column names are tuples of the lines of the head, of which empty ones are hidden.
    """

    title: str
    cells: pd.DataFrame

    @classmethod
    def of(cls, title: str, head: Sequence[Head], body: Sequence[Sequence[str | Cell]]) -> ShownTable:
        """Make a table of rows.

        Args:
            title: a sentence without the full stop.
            head: one or several lines for each column.
            body: rows as long as the head.
        """
        lines = [(one,) if isinstance(one, str) else one for one in head]
        rows = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
        # Columns are numbered first, as two may have the same head.
        return cls(title, pd.DataFrame(rows, columns=range(len(lines)), dtype=object).set_axis(_index(lines), axis=1))

    @property
    def head(self) -> list[list[str]]:
        """The lines of each column's head."""
        return [[line for line in lines if line] or [""] for lines in self.cells.columns]

    @property
    def rows(self) -> list[list[Cell]]:
        """The cells, row by row."""
        return [list(row) for row in self.cells.itertuples(index=False, name=None)]

    @property
    def texts(self) -> list[list[str]]:
        """The texts of the rows, without the marks of places."""
        return [[str(cell) for cell in row] for row in self.rows]

    def plain(self) -> pd.DataFrame:
        """The texts as a data frame, each head on one line."""
        return self.cells.map(str).set_axis([" ".join(lines) for lines in self.head], axis=1)


def _index(heads: Sequence[tuple[str, ...]]) -> pd.Index:
    return pd.Index(pd.Series(heads, dtype=object), tupleize_cols=False)
