"""The table of main results: every policy on every benchmark, its cost, and its gain over its reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from astarpo.evaluation.costs import both_stages_seconds
from astarpo.tables.ranking import NO_MARK, TIED, UNDECIDED, Key, Mark
from astarpo.tables.rendering import render
from astarpo.tables.results import QUESTION, Column, Results, Score, interval, percent, table_note
from astarpo.tables.shown import Cell, Head, ShownTable

FEW_SEEDS = 5  # the values of fewer seeds are listed
NOTE = "runs are means over their seeds"
RANKING = "best run bold, second underlined"
SIGNS = {
    TIED: "not different from the best after Holm's correction for the number of pairs of runs",
    UNDECIDED: "may equal the best: too few seeds or problems to tell",
}
COSTS = ("time, min", "memory, GiB", "KL per token")
VERDICTS = {"tied": " tied", "cannot_tell": " cannot tell"}


class ColumnGroup(NamedTuple):
    """Adjacent columns of a LaTeX table under one head, numbered from 1."""

    name: str
    width: int
    first: int
    last: int


def main_tables(
    summary: pd.DataFrame,
    cost: pd.DataFrame | None = None,
    differences: pd.DataFrame | None = None,
    marks: Mapping[Key, Mark] | None = None,
) -> list[ShownTable]:
    """Lay out the main results.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        cost: with the columns of `columns.COST`; if given and not empty, time, memory and KL are shown.
        differences: with the columns of `columns.DIFFERENCES`; those of runs and their references are a second table.
        marks: from `ranking.rank_runs`: the best run bold, the second underlined, ``=`` and ``?`` as in `SIGNS`.

    Returns:
        One row per reference and run (mean over seeds with its interval); below a run with fewer than five seeds, a row
        with the value of each seed; one column per benchmark and metric. Then the table of changes, if any.
    """
    results = Results(summary)
    columns = results.columns()
    scores: list[Head] = [(column.benchmark, column.label) for column in columns]
    costs = _costs(cost)
    title = f"Percent right [{table_note(summary)}]; {NOTE}{_legend(marks)}"
    body = list(_rows(results, columns, costs, marks or {}))
    tables = [ShownTable.of(title, [("policy", ""), *scores, *((name, "") for name in _cost_labels(costs))], body)]
    if differences is not None and len(differences):
        tables.append(_changes(results, columns, scores, differences))
    return tables


def latex_table(
    summary: pd.DataFrame, cost: pd.DataFrame | None = None, marks: Mapping[Key, Mark] | None = None
) -> str:
    """Make the table of main results in LaTeX, with the rows and columns of `main_tables`.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        cost: with the columns of `columns.COST`, or None.
        marks: as for `main_tables`.

    Returns:
        A ``tabular``, which needs the package ``booktabs``.
    """
    columns = Results(summary).columns()
    costs = _cost_labels(_costs(cost))
    (main,) = main_tables(summary, cost, marks=marks)
    return render(
        "main.tex.j2",
        note=f"percent right, {table_note(summary)}; {NOTE}{_legend(marks)}",
        groups=list(_groups([*(column.benchmark for column in columns), *["cost"] * len(costs)])),
        labels=[*(column.label for column in columns), *costs],
        rows=main.rows,
    )


def _groups(names: Sequence[str]) -> Iterator[ColumnGroup]:
    first = 2
    for name, width in Counter(names).items():  # the columns of a benchmark are adjacent
        yield ColumnGroup(name, width, first, first + width - 1)
        first += width


def _legend(marks: Mapping[Key, Mark] | None) -> str:
    if not marks:
        return ""
    used = {mark.sign for mark in marks.values()}
    return "; ".join(["", RANKING, *(f"{sign} {text}" for sign, text in SIGNS.items() if sign in used)])


def _rows(
    results: Results, columns: Sequence[Column], costs: Mapping[str, list[str]] | None, marks: Mapping[Key, Mark]
) -> Iterator[list[str | Cell]]:
    no_costs = [""] * len(_cost_labels(costs))
    for policy in results.policies():
        cells: list[str | Cell] = []
        for column in columns:
            score = results.score(policy, column)
            mark = marks.get((policy, *column.key), NO_MARK)
            cells.append(Cell(percent(score.value), interval(score), mark) if score else "")
        yield [policy, *cells, *(costs or {}).get(policy, no_costs)]
        seeds = results.seeds(policy)
        if 0 < len(seeds) < FEW_SEEDS:
            numbers = ", ".join(seed.rsplit(".seed-", 1)[-1] for seed in seeds)
            name = f"{policy}, seed{'s' if len(seeds) > 1 else ''} {numbers}"
            yield [name, *(_each(results, seeds, column) for column in columns), *no_costs]


def _each(results: Results, seeds: Sequence[str], column: Column) -> str:
    """The value of each seed."""
    scores = [results.score(seed, column) for seed in seeds]
    return " / ".join(percent(score.value) for score in scores if score)


def _costs(cost: pd.DataFrame | None) -> dict[str, list[str]] | None:
    """Time of both stages, peak memory and KL of each run, means over its seeds."""
    if cost is None or cost.empty:
        return None
    means = (
        cost.assign(seconds=both_stages_seconds(cost))
        .groupby("run")[["seconds", "peak_memory_bytes", "kl_per_token"]]
        .mean()
    )
    return {
        run: [f"{seconds / 60:.1f}", f"{memory / 2**30:.2f}", "" if pd.isna(kl) else f"{kl:.3g}"]
        for run, seconds, memory, kl in means.itertuples(name=None)
    }


def _cost_labels(costs: Mapping[str, list[str]] | None) -> Sequence[str]:
    return () if costs is None else COSTS


def _changes(
    results: Results, columns: Sequence[Column], scores: Sequence[Head], differences: pd.DataFrame
) -> ShownTable:
    """The table of differences between each run and its reference."""
    rows = differences[["policy_a", "policy_b", *QUESTION, "value", "ci_low", "ci_high", "verdict"]]
    changes = {row[:5]: (Score(*row[5:8]), row[8]) for row in rows.itertuples(index=False, name=None)}
    runs = [policy for policy in results.policies() if results.seeds(policy)]
    shown = {run: [changes.get((results.reference(run), run, *column.key)) for column in columns] for run in runs}
    title = (
        "Change to the reference in points [95 % interval over problems and seeds, each by itself]; tied: not "
        "different after Holm's correction for the number of pairs with a reference"
    )
    if any(one is not None and one[1] == "cannot_tell" for line in shown.values() for one in line):
        title += "; cannot tell: too few seeds or problems (of one seed the interval is over problems)"
    body = [[run, *(_change(*one) if one else "" for one in line)] for run, line in shown.items()]
    return ShownTable.of(title, [("policy", ""), *scores], body)


def _change(difference: Score, verdict: str) -> str:
    """Show a difference, reference minus run, as the change from reference to run."""
    value, high, low = (-100 * number for number in difference)
    return f"{round(value, 1) + 0.0:+.1f} [{low:+.1f}, {high:+.1f}]{VERDICTS.get(verdict, '')}"
