"""Training time by data set and method, as in the paper's first figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from astarpo.evaluation.costs import both_stages_seconds
from astarpo.figures.scores import costs_of
from astarpo.figures.settings import TrainingTime
from astarpo.figures.style import (
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
def plot(cost: pd.DataFrame, settings: TrainingTime) -> Figure:
    """Plot one bar per run: the time of a training, with stage 1 hatched and seeds as dots.

    Args:
        cost: with the columns of `columns.COST`.
        settings: ``width_in``, ``height_in`` and ``runs`` (null: all).

    Returns:
        The figure; all of stage 1 is charged to every run that uses it, even if runs share it.

    Raises:
        InputError: there is nothing to show.
    """
    from matplotlib.patches import Patch

    runs = chosen_runs(cost, settings.runs)
    unit, sign = time_unit(both_stages_seconds(cost[cost["run"].isin(list(runs))]).max())
    shown = looks(runs)
    figure = new_figure(settings)
    axis = figure.subplots()
    for place, run in enumerate(runs):
        both = costs_of(cost, run, both_stages_seconds)
        first = costs_of(cost, run, lambda rows: rows["stage1_seconds"].fillna(0.0))
        total, stage1 = sum(both) / len(both) / unit, sum(first) / len(first) / unit
        colour = shown[run].colour
        axis.bar(place, total, width=0.6, color=colour)
        axis.bar(place, stage1, width=0.6, color=colour, edgecolor="white", hatch="///", lw=0)
        axis.plot([place + 0.35] * len(both), [one / unit for one in both], "k.", ms=4, mew=0)
        axis.annotate(f"{total:.1f}", (place, total), (0, 4), textcoords="offset points", ha="center")
    axis.set_xticks(range(len(runs)), runs, rotation=20 if len(runs) > 4 else 0)
    axis.set_ylabel(f"training time ({sign})")
    axis.margins(y=0.15)
    axis.grid(axis="x", visible=False)
    patches = [
        Patch(facecolor="#808080", edgecolor="white", hatch="///"),
        Patch(facecolor="#808080"),
    ]
    legend_above(figure, patches, ["stage 1, paid once for all runs that use it", "stage 2"])
    return figure
