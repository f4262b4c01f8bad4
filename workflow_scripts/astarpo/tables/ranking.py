"""Which run is best on a benchmark, which second, and which cannot be told from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Key = tuple[str, str, str, str]  # policy, benchmark, protocol, metric
TIED = "="
UNTOLD = "?"


@dataclass(frozen=True)
class Mark:
    """A run's place in a column: 1, 2 or 0 for any other; ``sign``: `TIED` or `UNTOLD` if it may equal the best."""

    place: int
    sign: str = ""


def rank_runs(summary_rows: Sequence[Row], differences: Sequence[Row]) -> dict[Key, Mark]:
    """Rank runs (means over their seeds) in each column; references are not ranked.

    Args:
        summary_rows: with the columns of `columns.SUMMARY`.
        differences: with the columns of `columns.DIFFERENCES`.

    Returns:
        Marks of all runs in columns with at least two of them; equal values share their place.
    """
    verdicts = {frozenset((row["policy_a"], row["policy_b"])) | {_column(row)}: row["verdict"] for row in differences}
    columns: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in summary_rows:
        if row["run"] is not None and row["seed"] is None:
            columns.setdefault(_column(row), {})[row["policy"]] = row["value"]
    marks = {}
    for column, values in columns.items():
        if len(values) < 2:
            continue
        best, *rest = sorted(set(values.values()), reverse=True)
        winners = [policy for policy, value in values.items() if value == best]
        for policy, value in values.items():
            place = 1 if value == best else 2 if rest and value == rest[0] else 0
            found = [verdicts.get(frozenset((policy, one)) | {column}) for one in winners]
            marks[policy, *column] = Mark(place, "" if place == 1 else _sign(found))
    return marks


def _sign(verdicts: Sequence[str | None]) -> str:
    if "tied" in verdicts:
        return TIED
    return UNTOLD if "cannot_tell" in verdicts else ""


def _column(row: Row) -> tuple[str, str, str]:
    return row["benchmark"], row["protocol"], row["metric"]
