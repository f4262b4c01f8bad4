"""The rows of a source, a data set and its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

SourceRow = Mapping[str, object]  # any columns, as in a file or on the hub


class Problem(TypedDict):
    """The columns used from a source. ``gold`` is None if missing, and empty if no box holds an answer.

    Problems with the same ``split_by``, by default their text, are always in the same hash range.
    """

    problem: str
    gold: str | None
    worked_solution: str | None
    problem_kind: NotRequired[str | None]
    level: NotRequired[str | None]
    split_by: NotRequired[str]


class DatasetRow(TypedDict):
    """The columns of `columns.DATASET`."""

    prompt_id: str
    problem: str
    prompt: str
    gold: str
    verifier: str
    worked_solution: str | None
    source_index: int
    problem_kind: str | None
    level: str | None


class UnreadableGold(TypedDict):
    """A row whose gold answer does not verify against itself; rows count from 1."""

    row: int
    gold: str


class DifferingDuplicate(TypedDict):
    """A row that repeats an earlier problem with another gold answer."""

    row: int
    gold: str
    first_row: int
    first_gold: str


class GoldEntries(TypedDict):
    """The entries of a card about gold answers."""

    unreadable_golds: list[UnreadableGold]
    differing_duplicates: list[DifferingDuplicate]


class Card(GoldEntries):
    """A summary of a prepared source: rows read, kept, and dropped by reason."""

    source: dict[str, object]
    template: str
    verifier: str
    rows_in: int
    rows_kept: int
    rows_dropped: dict[str, int]
    sha256: str
    example: dict[str, str | None]
