"""Picking single numbers out of the tables, for figures that set one against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from astarpo.common.errors import InputError
from astarpo.evaluation.scores import interval_note
from astarpo.figures.style import wrapped

Row = Mapping[str, Any]


def main_scores(
    rows: Sequence[Row], benchmark: str | None, family: str
) -> tuple[str, dict[str, Row], dict[str, list[Row]], dict[str, Row]]:
    """Pick the scores of one metric on one benchmark.

    Args:
        rows: with the columns of `columns.SUMMARY`.
        benchmark: its name, None for the first.
        family: ``greedy``, ``avg``, ``pass`` or ``maj``; of several k the largest.

    Returns:
        A title; run -> row (mean over seeds); run -> rows of its seeds; reference -> row.

    Raises:
        InputError: the table has no such benchmark or metric.
    """
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    name = benchmark if benchmark is not None or not benchmarks else benchmarks[0]
    own = [row for row in rows if row["benchmark"] == name]
    chosen = [row for row in own if row["metric"].split("@")[0] == family]
    if not chosen:
        there = sorted({f"{row['benchmark']} {row['metric'].split('@')[0]}" for row in rows})
        raise InputError(f"the summary has no {family!r} of benchmark {name!r}; it has {', '.join(there) or 'nothing'}")
    largest = max(row["k"] for row in chosen)
    chosen = [row for row in chosen if row["k"] == largest]
    pooled = {row["run"]: row for row in chosen if row["run"] and row["seed"] is None}
    seeds: dict[str, list[Row]] = {run: [] for run in pooled}
    for row in chosen:
        if row["run"] and row["seed"] is not None:
            seeds[row["run"]].append(row)
    references = {row["policy"]: row for row in chosen if row["run"] is None}
    return f"{name}, {chosen[0]['metric']}", pooled, seeds, references


def costs_of(rows: Sequence[Row], run: str, number: Any) -> list[float]:
    """A number of each seed of a run, those left out that are not known.

    Args:
        rows: with the columns of `columns.COST`.
        run: its name.
        number: row -> float or None.
    """
    found = (number(row) for row in rows if row["run"] == run)
    return [float(one) for one in found if one is not None]


def total_seconds(row: Row) -> float:
    """Seconds of both stages; a stage 1 that is not known counts nothing."""
    return float((row["stage1_seconds"] or 0.0) + row["stage2_seconds"])


def percent_error(row: Row) -> list[list[float]]:
    """The interval of a score as matplotlib wants it: lengths below and above, in percent."""
    value = row["value"]
    return [[100 * (value - row["ci_low"])], [100 * (row["ci_high"] - value)]]


def score_label(title: str, runs: Sequence[Row], height_in: float) -> str:
    """The label of an axis of scores: what they are, and what their intervals are over.

    Args:
        title: of `main_scores`.
        runs: rows of the runs that are plotted.
        height_in: of the figure, along which the label runs.
    """
    lines = (f"{title} (%)", interval_note(runs))
    return "\n".join(wrapped(line, height_in) for line in lines)
