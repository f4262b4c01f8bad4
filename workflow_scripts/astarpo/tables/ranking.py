"""The ranking of runs on each benchmark: the best, the second, and those that may be as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from astarpo.evaluation.scores import pooled_runs
from astarpo.tables.results import QUESTION

Key = tuple[str, str, str, str]  # policy, benchmark, protocol, metric
TIED = "="
UNDECIDED = "?"


@dataclass(frozen=True)
class Mark:
    """A run's place in a column: 1, 2, or 0 for others; ``sign`` is `TIED` or `UNDECIDED` if it may equal the best."""

    place: int
    sign: str = ""


NO_MARK = Mark(0)


def rank_runs(summary: pd.DataFrame, differences: pd.DataFrame) -> dict[Key, Mark]:
    """Rank runs (means over their seeds) in each column; references are not ranked.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        differences: with the columns of `columns.DIFFERENCES`.

    Returns:
        Marks for the runs in every column with at least two of them; equal values share a place.
    """
    columns = [*QUESTION, "policy_a", "policy_b", "verdict"]
    verdicts = {
        (*question, frozenset((a, b))): verdict
        for *question, a, b, verdict in differences[columns].itertuples(index=False, name=None)
    }
    marks: dict[Key, Mark] = {}
    for question, rows in pooled_runs(summary).groupby(QUESTION, sort=False):
        values = dict(zip(rows["policy"], rows["value"], strict=True))
        if len(values) < 2:
            continue
        best, *rest = sorted(set(values.values()), reverse=True)
        winners = [policy for policy, value in values.items() if value == best]
        for policy, value in values.items():
            place = 1 if value == best else 2 if rest and value == rest[0] else 0
            against_best = [verdicts.get((*question, frozenset((policy, one)))) for one in winners]
            marks[policy, *question] = Mark(place, "" if place == 1 else _sign(against_best))
    return marks


def _sign(verdicts: Sequence[str | None]) -> str:
    if "tied" in verdicts:
        return TIED
    return UNDECIDED if "cannot_tell" in verdicts else ""
