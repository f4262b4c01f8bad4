"""What accuracy costs: against time, memory and the distance from the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.evaluation.costs import both_stages_seconds
from astarpo.figures.scores import MainScores, Quantity, costs_of, main_scores, percent_error
from astarpo.figures.settings import Tradeoff
from astarpo.figures.style import (
    REFERENCE_COLOUR,
    Look,
    chosen_runs,
    legend_above,
    looks,
    new_figure,
    styled,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def plot(summary: pd.DataFrame, cost: pd.DataFrame, settings: Tradeoff) -> Figure:
    """Plot accuracy against the time of both stages, peak memory and KL: one point per run.

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
    scores = main_scores(summary, settings.benchmark, settings.metric)
    runs = {run: method for run, method in chosen_runs(cost, settings.runs).items() if run in scores.runs.index}
    if not runs:
        raise InputError(f"none of the figure's runs was evaluated on {scores.title}")
    unit, sign = time_unit(both_stages_seconds(cost[cost["run"].isin(list(runs))]).max())
    panels: dict[str, Quantity] = {
        f"time of both stages ({sign})": lambda rows: both_stages_seconds(rows) / unit,
        "peak memory (GiB)": lambda rows: rows["peak_memory_bytes"] / 2**30,
        "KL per token (nats)": lambda rows: rows["kl_per_token"],
    }
    figure = new_figure(settings)
    axes = figure.subplots(1, len(panels), sharey=True)
    shown = looks(runs)
    used = scores.runs.loc[list(runs), "reference"]
    references = scores.references[scores.references["policy"].isin(used)]
    for axis, (label, quantity) in zip(axes, panels.items(), strict=True):
        for value in references["value"]:
            axis.axhline(100 * value, color=REFERENCE_COLOUR, linestyle="--", lw=1)
        for run in runs:
            _plot_run(axis, cost, run, quantity, scores, shown[run])
        axis.set_xlabel(label)
        axis.set_xlim(0, 1.05 * axis.get_xlim()[1])  # from 0, and no point on the edge
    axes[0].set_ylabel(scores.label(list(runs), settings.height_in))
    _legend(figure, shown, sorted(references["policy"]))
    return figure


def _plot_run(axis: Axes, cost: pd.DataFrame, run: str, quantity: Quantity, scores: MainScores, look: Look) -> None:
    at = costs_of(cost, run, quantity)
    if not at:
        return
    mean = scores.runs.loc[run]
    axis.errorbar(
        sum(at) / len(at),
        100 * mean["value"],
        yerr=percent_error(mean),
        fmt=look.marker,
        color=look.colour,
        elinewidth=1.2,
        capsize=2,
        markersize=5,
    )
    for seed, value in scores.seeds_of(run)[["seed", "value"]].itertuples(index=False, name=None):
        for x in costs_of(cost[cost["seed"] == seed], run, quantity):
            axis.plot(x, 100 * value, ".", color=look.colour, ms=4, mew=0)


def _legend(figure: Figure, shown: dict[str, Look], references: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", markersize=5) for look in shown.values()
    ]
    handles += [Line2D([], [], color=REFERENCE_COLOUR, linestyle="--", lw=1) for _ in references]
    legend_above(figure, handles, [*shown, *references])
