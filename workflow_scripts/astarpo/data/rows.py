"""The rows of a source, a data set and its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

SourceRow = Mapping[str, object]  # as in a file or on the hub: any columns


class Problem(TypedDict):
    """What is taken from a row of a source. ``gold`` is None where it is missing, and empty where no box holds it."""

    problem: str
    gold: str | None
    worked_solution: str | None


class DatasetRow(TypedDict):
    """The columns of `columns.DATASET`."""

    prompt_id: str
    problem: str
    prompt: str
    gold: str
    verifier: str
    worked_solution: str | None
    source_index: int


class UnreadableGold(TypedDict):
    """A row whose gold answer does not verify against itself; rows count from 1."""

    row: int
    gold: str


class DifferingDuplicate(TypedDict):
    """A row with the problem of an earlier row, but another gold answer."""

    row: int
    gold: str
    first_row: int
    first_gold: str


class GoldEntries(TypedDict):
    """What a card says about gold answers."""

    unreadable_golds: list[UnreadableGold]
    differing_duplicates: list[DifferingDuplicate]


class Card(GoldEntries):
    """What became of a source: rows read, kept, and dropped by reason."""

    source: dict[str, object]
    template: str
    verifier: str
    rows_in: int
    rows_kept: int
    rows_dropped: dict[str, int]
    sha256: str
    example: dict[str, str | None]
