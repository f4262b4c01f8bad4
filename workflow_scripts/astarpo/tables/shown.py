"""Tables as people see them: cells of plain text with what is to be marked, and nothing of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from astarpo.tables.ranking import NO_MARK, Mark

Head = str | tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A cell: a text, its interval or the like, and its place among the runs."""

    text: str
    more: str = ""
    mark: Mark = NO_MARK

    def __str__(self) -> str:
        return " ".join(filter(None, (self.text, self.mark.sign, self.more)))


@dataclass(frozen=True)
class ShownTable:
    """A table with its title.

    Attributes:
        title: a sentence without its full stop.
        cells: a data frame of `Cell`; its columns are tuples of the lines of their heads, where empty ones are none.
    """

    title: str
    cells: pd.DataFrame

    @classmethod
    def of(cls, title: str, head: Sequence[Head], body: Sequence[Sequence[str | Cell]]) -> ShownTable:
        """Make a table of rows.

        Args:
            title: a sentence without its full stop.
            head: of each column, one line or several.
            body: rows as long as the head.
        """
        lines = [(one,) if isinstance(one, str) else one for one in head]
        rows = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in body]
        # Columns are numbered, so that two may have the same head.
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
        """What the rows say, without marks of places."""
        return [[str(cell) for cell in row] for row in self.rows]

    def plain(self) -> pd.DataFrame:
        """The texts as a data frame, heads in one line."""
        return self.cells.map(str).set_axis([" ".join(lines) for lines in self.head], axis=1)


def _index(heads: Sequence[tuple[str, ...]]) -> pd.Index:
    return pd.Index(pd.Series(heads, dtype=object), tupleize_cols=False)
