"""Accuracy by benchmark: the reference and each run, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from astarpo.common.errors import InputError
from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import interval_note
from astarpo.figures.style import (
    GREY,
    MARKERS,
    REFERENCE_COLOUR,
    Look,
    Settings,
    chosen_runs,
    legend_above,
    looks,
    new_figure,
    styled,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = ("greedy", "avg", "pass")
# Two benchmarks are 1 apart.
SPREAD = 0.7  # room for all policies of a benchmark
WIDEST_GAP = 0.24  # between two of them


@styled
def plot(summary: pa.Table, settings: Settings) -> Figure:
    """Plot a panel each for greedy, avg@k and pass@k: a point a policy, a row a benchmark.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        settings: ``width_in``, ``height_in`` and ``runs`` (null: all).

    Returns:
        The figure: points with intervals, over problems and the seeds of a run; single seeds as small dots behind.

    Raises:
        InputError: there is nothing to show.
    """
    rows = _main_rows(summary.to_pylist())
    runs = chosen_runs(rows, settings["runs"])
    references = dict.fromkeys(row["reference"] for row in rows if row["run"] in runs)
    policies = {
        **{name: Look(REFERENCE_COLOUR, "-", MARKERS[place % len(MARKERS)]) for place, name in enumerate(references)},
        **looks(runs),
    }
    rows = [row for row in rows if (row["run"] or row["policy"]) in policies]
    panels = [family for family in FAMILIES if any(_family(row) == family for row in rows)]
    if not panels:
        raise InputError(f"the summary has none of the metrics {', '.join(FAMILIES)}")
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    figure = new_figure(settings)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, family in zip(axes, panels, strict=True):
        own = [row for row in rows if _family(row) == family]
        _plot_panel(axis, own, policies, benchmarks)
        axis.set_title(_title(own, family))
    axes[0].set_yticks(range(len(benchmarks)), benchmarks)
    axes[0].set_ylim(len(benchmarks) - 0.5, -0.5)
    label = f"problems solved (%), {_note(rows)}"
    figure.supxlabel(wrapped(label, settings["width_in"]), fontsize=8)
    _legend(figure, policies)
    return figure


def _note(rows: Sequence[dict[str, Any]]) -> str:
    """What the intervals are over, that of a reference included; single seeds are plotted without."""
    note = interval_note(rows)
    some = any(row["interval_over"] == OVER_BOTH for row in rows)
    return f"{note} (of references: over {OVER_PROBLEMS})" if some else note


def _main_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each family of metrics and benchmark the rows with the largest k."""
    largest: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["benchmark"], _family(row))
        largest[key] = max(row["k"], largest.get(key, 0))
    return [row for row in rows if row["k"] == largest[row["benchmark"], _family(row)]]


def _family(row: dict[str, Any]) -> str:
    return str(row["metric"]).split("@")[0]


def _title(rows: Sequence[dict[str, Any]], family: str) -> str:
    """``avg@8``, or ``avg@k, k = 8 to 32`` where benchmarks differ."""
    if family == "greedy":
        return family
    sizes = sorted({row["k"] for row in rows})
    if len(sizes) == 1:
        return f"{family}@{sizes[0]}"
    return f"{family}@k, k = {sizes[0]} to {sizes[-1]}"


def _plot_panel(axis: Any, rows: Sequence[dict[str, Any]], policies: dict[str, Look], benchmarks: list[str]) -> None:
    gap = min(SPREAD / len(policies), WIDEST_GAP)
    places = {name: (index - (len(policies) - 1) / 2) * gap for index, name in enumerate(policies)}
    for row in rows:
        name = row["run"] or row["policy"]
        look, y = policies[name], benchmarks.index(row["benchmark"]) + places[name]
        x = 100 * row["value"]
        if row["seed"] is not None:
            axis.plot(x, y + 0.4 * gap, ".", color=look.colour, markersize=4, markeredgewidth=0)
            continue
        error = [[x - 100 * row["ci_low"]], [100 * row["ci_high"] - x]]
        line: dict[str, Any] = {"elinewidth": 1.2, "capsize": 2, "markersize": 4}
        axis.errorbar(x, y, xerr=error, fmt=look.marker, color=look.colour, **line)
    low, high = min(row["ci_low"] for row in rows), max(row["ci_high"] for row in rows)
    axis.set_xlim(10 * floor(10 * low) - 1, 10 * ceil(10 * high) + 1)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    for place in range(1, len(benchmarks)):
        axis.axhline(place - 0.5, color="#E6E6E6", linewidth=0.6)


def _legend(figure: Figure, policies: dict[str, Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=4) for look in policies.values()
    ]
    dot: dict[str, Any] = {"marker": ".", "markersize": 4, "markeredgewidth": 0}
    handles.append(Line2D([], [], color=GREY, linestyle="", **dot))
    legend_above(figure, handles, [*policies, "single seeds"])
