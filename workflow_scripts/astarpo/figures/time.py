"""Time by phase: stage 1 and the phases of stage 2, one bar per run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from astarpo.figures.settings import TimeByPhase
from astarpo.figures.style import (
    PHASE_COLOURS,
    chosen_runs,
    legend_above,
    new_figure,
    styled,
    time_unit,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = {
    "stage 1": "stage1_seconds",
    "generate": "generate_seconds",
    "grade": "grade_seconds",
    "reference pass": "reference_seconds",
    "update": "update_seconds",
}


@styled
def plot(cost: pd.DataFrame, settings: TimeByPhase) -> Figure:
    """Plot stacked bars: seconds of each phase, means over a run's seeds.

    Args:
        cost: with the columns of `columns.COST`.
        settings: ``width_in``, ``height_in`` and ``runs`` (null: all).

    Returns:
        The figure; all of stage 1 is charged to every run that uses it.

    Raises:
        InputError: there is nothing to show.
    """
    runs = list(chosen_runs(cost, settings.runs))
    seconds_RP = np.array([_mean_seconds(cost, run) for run in runs])
    totals_R = seconds_RP.sum(axis=1)
    unit, sign = time_unit(float(totals_R.max()))
    figure = new_figure(settings)
    axis = figure.subplots()
    starts_RP = np.cumsum(seconds_RP, axis=1) - seconds_RP
    bars = [
        axis.barh(
            range(len(runs)),
            seconds_RP[:, place] / unit,
            left=starts_RP[:, place] / unit,
            height=0.6,
            color=PHASE_COLOURS[phase],
        )
        for place, phase in enumerate(PHASES)
    ]
    for place, total in enumerate(totals_R):
        axis.annotate(
            f"{total / unit:.1f} {sign}",
            (total / unit, place),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
    axis.set_yticks(range(len(runs)), runs)
    margin = max(0.5, 1.6 - 0.5 * len(runs))  # a single bar should not fill the figure
    axis.set_ylim(len(runs) - 1 + margin, -margin)
    axis.set_xlim(0, 1.12 * float(totals_R.max()) / unit or 1.0)
    axis.set_xlabel(f"time per training ({sign}), mean over seeds")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    legend_above(figure, bars, list(PHASES))
    return figure


def _mean_seconds(cost: pd.DataFrame, run: str) -> list[float]:
    """Mean seconds of each phase over the seeds; an unknown phase counts as 0."""
    seeds = cost.loc[cost["run"] == run, list(PHASES.values())].fillna(0.0)
    return [sum(seeds[column].tolist()) / len(seeds) for column in PHASES.values()]
