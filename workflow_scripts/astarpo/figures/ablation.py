"""One factor at a time: accuracy and distance from the reference against the value of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.figures.scores import costs_of, main_scores, percent_error
from astarpo.figures.settings import AblationSettings, Value
from astarpo.figures.style import (
    REFERENCE_COLOUR,
    Look,
    chosen_runs,
    looks,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def plot(summary: pd.DataFrame, cost: pd.DataFrame, settings: AblationSettings) -> Figure:
    """Plot accuracy and KL against a setting: one point per run, lines between runs of one method.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        cost: with the columns of `columns.COST`.
        settings: ``width_in``, ``height_in``, ``x`` (the setting's name), ``points`` (run -> its value),
            ``benchmark`` (null: the first) and ``metric`` (a family, as ``avg``).

    Returns:
        The figure: means over seeds with intervals over problems and seeds, seeds as dots, the reference as a line.

    Raises:
        InputError: there is nothing to show.
    """
    points = settings.points
    scores = main_scores(summary, settings.benchmark, settings.metric)
    runs = chosen_runs(cost, [run for run in points if run in scores.runs.index])
    places, labels = axis_places([points[run] for run in runs])
    at = dict(zip(runs, places, strict=True))
    shown = _look_by_method(runs)
    figure = new_figure(settings)
    left, right = figure.subplots(1, 2)
    used = scores.runs.loc[list(runs), "reference"]
    for value in scores.references.loc[scores.references["policy"].isin(used), "value"]:
        left.axhline(100 * value, color=REFERENCE_COLOUR, linestyle="--", lw=1)
    for method in dict.fromkeys(runs.values()):
        method_runs = sorted((run for run in runs if runs[run] == method), key=at.__getitem__)
        look = shown[method_runs[0]]
        _lines(left, [(at[run], 100 * scores.runs.loc[run, "value"]) for run in method_runs], look)
        for run in method_runs:
            _plot_point(left, at[run], scores.runs.loc[run], scores.seeds_of(run)["value"], look)
        _plot_kl(right, cost, method_runs, at, look)
    left.set_ylabel(scores.label(list(runs), settings.height_in))
    right.set_ylabel("KL a sequence (nats)")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.set_xlabel(settings.x)
        axis.set_xticks(list(labels), labels.values())
        axis.margins(x=0.08)
    return figure


def axis_places(values: list[Value]) -> tuple[list[float], dict[float, str]]:
    """Place values on the axis, evenly spaced: numbers in ascending order, then others in the given order.

    Args:
        values: one for each run.

    Returns:
        The place of each value, and place -> label.

    Raises:
        InputError: there are no values.
    """
    if not values:
        raise InputError("no run of the figure was evaluated and has the setting")
    distinct = list(dict.fromkeys(values))
    numbers = [one for one in distinct if isinstance(one, (int, float)) and not isinstance(one, bool)]
    others = [one for one in distinct if one not in numbers or isinstance(one, bool)]
    ordered = [*sorted(numbers), *others]
    return [float(ordered.index(one)) for one in values], {
        float(place): _label(one) for place, one in enumerate(ordered)
    }


def _label(value: Value) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _look_by_method(runs: dict[str, str]) -> dict[str, Look]:
    """Give runs of one method the same look, as their place on the axis distinguishes them."""
    by_method = looks({method: method for method in dict.fromkeys(runs.values())})
    return {run: by_method[method] for run, method in runs.items()}


def _lines(axis: Axes, places: list[tuple[float, float]], look: Look) -> None:
    xs, ys = zip(*places, strict=True)
    axis.plot(xs, ys, look.dash, color=look.colour, lw=1, alpha=0.6)


def _plot_point(axis: Axes, x: float, mean: pd.Series, seeds: pd.Series, look: Look) -> None:
    axis.errorbar(
        x,
        100 * mean["value"],
        yerr=percent_error(mean),
        fmt=look.marker,
        color=look.colour,
        elinewidth=1.2,
        capsize=2,
        markersize=4,
    )
    for value in seeds:
        axis.plot(x + 0.12, 100 * value, ".", color=look.colour, ms=4, mew=0)


def _plot_kl(axis: Axes, cost: pd.DataFrame, runs: list[str], at: dict[str, float], look: Look) -> None:
    means = []
    for run in runs:
        kl = costs_of(cost, run, lambda rows: rows["kl_per_sequence"])
        if kl:
            means.append((at[run], sum(kl) / len(kl)))
            axis.plot([at[run] + 0.12] * len(kl), kl, ".", color=look.colour, ms=4, mew=0)
    if means:
        _lines(axis, means, look)
        axis.plot(*zip(*means, strict=True), look.marker, color=look.colour, markersize=4)
