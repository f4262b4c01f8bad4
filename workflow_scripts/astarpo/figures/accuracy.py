"""Accuracy by benchmark: the reference and each run, with 95 % intervals."""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import interval_note
from astarpo.figures.scores import families
from astarpo.figures.settings import Accuracy
from astarpo.figures.style import (
    GREY,
    MARKERS,
    REFERENCE_COLOUR,
    Look,
    chosen_runs,
    legend_above,
    looks,
    new_figure,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILIES = ("greedy", "avg", "pass")
# In units of the distance between two benchmarks:
SPREAD = 0.7  # room for all policies of a benchmark
WIDEST_GAP = 0.24  # between two policies


@styled
def plot(summary: pd.DataFrame, settings: Accuracy) -> Figure:
    """Plot one panel each for greedy, avg@k and pass@k: one point per policy, one row per benchmark.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        settings: ``width_in``, ``height_in`` and ``runs`` (null: all).

    Returns:
        The figure: points with intervals over problems and the seeds of a run; single seeds as small dots.

    Raises:
        InputError: there is nothing to show.
    """
    rows = _main_rows(summary)
    runs = chosen_runs(rows, settings.runs)
    references = rows.loc[rows["run"].isin(list(runs)), "reference"].drop_duplicates().tolist()
    policies = {
        **{name: Look(REFERENCE_COLOUR, "-", MARKERS[place % len(MARKERS)]) for place, name in enumerate(references)},
        **looks(runs),
    }
    rows = rows.assign(family=families(rows), name=rows["run"].where(rows["run"].notna(), rows["policy"]))
    rows = rows[rows["name"].isin(list(policies))]
    panels = [family for family in FAMILIES if family in set(rows["family"])]
    if not panels:
        raise InputError(f"the summary has none of the metrics {', '.join(FAMILIES)}")
    benchmarks = rows["benchmark"].drop_duplicates().tolist()
    figure = new_figure(settings)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, family in zip(axes, panels, strict=True):
        family_rows = rows[rows["family"] == family]
        _plot_panel(axis, family_rows, policies, benchmarks)
        axis.set_title(_title(family_rows, family))
    axes[0].set_yticks(range(len(benchmarks)), benchmarks)
    axes[0].set_ylim(len(benchmarks) - 0.5, -0.5)
    label = f"problems solved (%), {_note(rows)}"
    figure.supxlabel(wrapped(label, settings.width_in), fontsize=8)
    _legend(figure, policies)
    return figure


def _note(rows: pd.DataFrame) -> str:
    """What the intervals are over, including those of references; single seeds have none."""
    note = interval_note(rows)
    some = (rows["interval_over"] == OVER_BOTH).any()
    return f"{note} (of references: over {OVER_PROBLEMS})" if some else note


def _main_rows(summary: pd.DataFrame) -> pd.DataFrame:
    """For each benchmark and family of metrics, the rows with the largest k."""
    largest = summary.groupby(["benchmark", families(summary)])["k"].transform("max")
    return summary[summary["k"] == largest]


def _title(rows: pd.DataFrame, family: str) -> str:
    """``avg@8``, or ``avg@k, k = 8 to 32`` if benchmarks differ."""
    if family == "greedy":
        return family
    fewest, most = rows["k"].min(), rows["k"].max()
    return f"{family}@{most}" if fewest == most else f"{family}@k, k = {fewest} to {most}"


def _plot_panel(axis: Axes, rows: pd.DataFrame, policies: dict[str, Look], benchmarks: list[str]) -> None:
    gap = min(SPREAD / len(policies), WIDEST_GAP)
    places = {name: (index - (len(policies) - 1) / 2) * gap for index, name in enumerate(policies)}
    for _, row in rows.iterrows():
        look, y = policies[row["name"]], benchmarks.index(row["benchmark"]) + places[row["name"]]
        x = 100 * row["value"]
        if not pd.isna(row["seed"]):
            axis.plot(x, y + 0.4 * gap, ".", color=look.colour, markersize=4, markeredgewidth=0)
            continue
        error = [[x - 100 * row["ci_low"]], [100 * row["ci_high"] - x]]
        axis.errorbar(x, y, xerr=error, fmt=look.marker, color=look.colour, elinewidth=1.2, capsize=2, markersize=4)
    axis.set_xlim(10 * floor(10 * rows["ci_low"].min()) - 1, 10 * ceil(10 * rows["ci_high"].max()) + 1)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    for place in range(1, len(benchmarks)):
        axis.axhline(place - 0.5, color="#E6E6E6", linewidth=0.6)


def _legend(figure: Figure, policies: dict[str, Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=4) for look in policies.values()
    ]
    handles.append(Line2D([], [], color=GREY, linestyle="", marker=".", markersize=4, markeredgewidth=0))
    legend_above(figure, handles, [*policies, "single seeds"])
