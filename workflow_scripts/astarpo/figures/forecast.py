"""Noise of the policy gradient with each baseline, forecast from stage 1's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from astarpo.figures.settings import Forecast
from astarpo.figures.style import BLUE, GREY, VERMILLION, new_figure, styled
from astarpo.stage_one.noise import NO_FORECAST, baseline_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"v_star": VERMILLION, "scaled_v_star": BLUE}


@styled
def plot(forecast: pd.DataFrame, settings: Forecast) -> Figure:
    """Plot one row per baseline: its noise relative to no baseline, with a 95 % interval over prompts.

    Args:
        forecast: with the columns of `columns.FORECAST`.
        settings: ``width_in``, ``height_in``, ``value`` (its name, for the title) and ``prompts``.

    Returns:
        The figure, the least noise at the top; one that says why if there is no forecast for these prompts.
    """
    rows = forecast[forecast["prompts"] == settings.prompts].sort_values("noise", kind="stable", ignore_index=True)
    figure = new_figure(settings)
    axis = figure.subplots()
    if rows.empty:  # a short trial, or a weak reference: a table says the same, and nothing is wrong with the run
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"{settings.value}: {NO_FORECAST[settings.prompts]}", ha="center", transform=axis.transAxes)
        return figure
    labels = []
    for place, row in enumerate(rows.itertuples()):
        colour = COLOURS.get(row.baseline, GREY)
        axis.plot([row.ci_low, row.ci_high], [place, place], color=colour, linewidth=1.2)
        axis.plot(row.noise, place, "o", color=colour, markersize=5)
        axis.annotate(f"{row.noise:.2f}", (row.noise, place), (0, 5), textcoords="offset points", ha="center")
        beta1, fitted = (None if pd.isna(one) else float(one) for one in (row.beta1, row.scale))
        labels.append(baseline_name(row.baseline, beta1) + ("" if fitted is None else f" ({fitted:.2f})"))
    axis.axvline(1.0, color="#000000", linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(labels)), labels)
    axis.invert_yaxis()
    axis.margins(y=0.08)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("noise of the policy gradient, relative to no baseline (forecast)")
    first = rows.iloc[0]
    which = "solved prompts" if settings.prompts == "solved" else "prompts"
    figure.suptitle(f"{settings.value}: {first['n_samples']:,} responses to {first['n_prompts']:,} {which}", fontsize=9)
    return figure
