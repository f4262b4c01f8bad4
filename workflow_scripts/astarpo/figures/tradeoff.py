"""What accuracy costs: against time, memory and the distance from the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from astarpo.common.errors import InputError
from astarpo.figures.scores import Row, costs_of, main_scores, percent_error, score_label, total_seconds
from astarpo.figures.style import (
    REFERENCE_COLOUR,
    Look,
    Settings,
    chosen_runs,
    legend_above,
    looks,
    new_figure,
    styled,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def plot(summary: pa.Table, cost: pa.Table, settings: Settings) -> Figure:
    """Plot accuracy against time of both stages, peak memory and KL: a point a run.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        cost: with the columns of `columns.COST`.
        settings: ``width_in``, ``height_in``, ``runs`` (null: all), ``benchmark`` (null: the first) and
            ``metric`` (a family, as ``avg``).

    Returns:
        The figure: means over seeds with intervals over problems and seeds, seeds as dots, the reference as a line.

    Raises:
        InputError: there is nothing to show.
    """
    cost_rows = cost.to_pylist()
    runs = chosen_runs(cost_rows, settings["runs"])
    title, pooled, seeds, references = main_scores(summary.to_pylist(), settings["benchmark"], settings["metric"])
    runs = {run: method for run, method in runs.items() if run in pooled}
    if not runs:
        raise InputError(f"none of the figure's runs was evaluated on {title}")
    unit, sign = time_unit(max(total_seconds(r) for r in cost_rows if r["run"] in runs))
    panels = {
        f"time of both stages ({sign})": lambda row: total_seconds(row) / unit,
        "peak memory (GiB)": lambda row: row["peak_memory_bytes"] / 2**30,
        "KL a token (nats)": lambda row: row["kl_per_token"],
    }
    figure = new_figure(settings)
    axes = figure.subplots(1, len(panels), sharey=True)
    shown = looks(runs)
    used = {pooled[run]["reference"] for run in runs}
    for axis, (label, number) in zip(axes, panels.items(), strict=True):
        for name, row in references.items():
            if name in used:
                axis.axhline(100 * row["value"], color=REFERENCE_COLOUR, linestyle="--", lw=1)
        for run in runs:
            _plot_run(axis, cost_rows, run, number, pooled[run], seeds[run], shown[run])
        axis.set_xlabel(label)
        axis.set_xlim(0, 1.05 * axis.get_xlim()[1])  # from 0, and no point on the edge
    axes[0].set_ylabel(score_label(title, [pooled[run] for run in runs], settings["height_in"]))
    _legend(figure, shown, sorted(used & set(references)))
    return figure


def _plot_run(axis: Any, cost_rows: list[Row], run: str, number: Any, row: Row, seeds: list[Row], look: Look) -> None:
    at = costs_of(cost_rows, run, number)
    if not at:
        return
    axis.errorbar(
        sum(at) / len(at),
        100 * row["value"],
        yerr=percent_error(row),
        fmt=look.marker,
        color=look.colour,
        elinewidth=1.2,
        capsize=2,
        markersize=5,
    )
    for seed in seeds:
        own = [r for r in cost_rows if r["run"] == run and r["seed"] == seed["seed"]]
        for x in costs_of(own, run, number):
            axis.plot(x, 100 * seed["value"], ".", color=look.colour, ms=4, mew=0)


def _legend(figure: Figure, shown: dict[str, Look], references: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=5) for look in shown.values()
    ]
    handles += [Line2D([], [], color=REFERENCE_COLOUR, linestyle="--", lw=1) for _ in references]
    legend_above(figure, handles, [*shown, *references])
