"""Training curves: reward, KL, response length and validation reward of each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from astarpo.common.errors import InputError
from astarpo.figures.settings import TrainingCurves
from astarpo.figures.style import (
    GREY,
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

PANELS = {
    "reward": "training reward",
    "validation_reward": "validation reward",
    "kl_per_sequence": "KL to the reference\n(nats per response)",
    "response_length": "response length (tokens)",
}
SMOOTHING = 50  # thick lines are running means over 1/50 of the steps
Points = dict[int, tuple[float, float]]  # step -> (x, y)


@styled
def plot(curves: pd.DataFrame, settings: TrainingCurves) -> Figure:
    """Plot one panel per metric: a line for the mean over a run's seeds, a thin one for each seed.

    Args:
        curves: with the columns of `columns.CURVES`.
        settings: ``width_in``, ``height_in``, ``runs`` (null: all), ``x`` (``step`` or ``seconds``).

    Returns:
        The figure; a metric that no run recorded has no panel.

    Raises:
        InputError: there is nothing to show.
    """
    rows = curves[curves["name"].isin(list(PANELS))]
    run_looks = looks(chosen_runs(rows, settings.runs))
    rows = rows[rows["run"].isin(list(run_looks))]
    names = [name for name in PANELS if name in set(rows["name"])]
    if not names:
        raise InputError(f"the table of curves has none of {', '.join(PANELS)}")
    unit, label = _axis(rows, settings.x)
    window = _window(rows["step"].nunique())
    if window > 1:
        label += f"   (thick lines: mean over seeds, running mean over {window} steps)"
    figure = new_figure(settings)
    columns = 2 if len(names) > 1 else 1
    shape = (-(-len(names) // columns), columns)
    panels = figure.subplots(*shape, squeeze=False, sharex=True).flat
    for panel, name in zip(panels, names, strict=False):
        for run, look in run_looks.items():
            seeds = _seed_curves(rows, run, name, settings.x, unit)
            _plot_run(panel, seeds, look, marked=name == "validation_reward")
        panel.set_ylabel(PANELS[name])
    for panel in list(figure.axes)[len(names) :]:
        panel.remove()
    for panel in list(figure.axes)[-columns:]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel(label, fontsize=8)
    _legend(figure, run_looks)
    return figure


def _axis(rows: pd.DataFrame, x: str) -> tuple[float, str]:
    """The unit of the horizontal axis, and its label."""
    if x == "step":
        return 1.0, "step"
    unit, sign = time_unit(rows["seconds"].max())
    return unit, f"training time without stage 1 ({sign})"


def _seed_curves(rows: pd.DataFrame, run: str, name: str, x: str, unit: float) -> dict[int, Points]:
    seeds: dict[int, Points] = {}
    seed_rows = rows.loc[(rows["run"] == run) & (rows["name"] == name), ["seed", "step", x, "value"]]
    seed_rows.columns = ["seed", "step", "x", "y"]  # x may be the step itself
    for seed, step, place, value in seed_rows.itertuples(index=False, name=None):
        seeds.setdefault(seed, {})[step] = (place / unit, value)
    return seeds


def _mean_curve(seeds: dict[int, Points]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds of x and, smoothed, of y, at the steps that all seeds have."""
    steps = sorted(set.intersection(*(set(points) for points in seeds.values())))
    points_NS2 = np.array([[points[step] for step in steps] for points in seeds.values()])
    means_S2 = points_NS2.mean(axis=0).reshape(-1, 2)
    return means_S2[:, 0], running_mean(means_S2[:, 1], _window(len(steps)))


def _window(n_steps: int) -> int:
    """Number of points in a running mean: odd, so that it has a middle."""
    return 2 * (n_steps // (2 * SMOOTHING)) + 1


def running_mean(values_S: np.ndarray, window: int) -> np.ndarray:
    """Running mean over ``window`` (odd) values, fewer at both ends."""
    ones_W = np.ones(window)
    kept = slice(window // 2, window // 2 + len(values_S))
    sums_S = np.convolve(values_S, ones_W)[kept]
    return sums_S / np.convolve(np.ones(len(values_S)), ones_W)[kept]


def _plot_run(panel: Axes, seeds: dict[int, Points], look: Look, marked: bool) -> None:
    if not seeds:
        return
    if len(seeds) > 1:
        for points in seeds.values():
            xy_S2 = np.array([points[step] for step in sorted(points)])
            panel.plot(xy_S2[:, 0], xy_S2[:, 1], color=look.colour, linewidth=0.5, alpha=0.35)
    marker = look.marker if marked else None
    x_S, y_S = _mean_curve(seeds)
    panel.plot(x_S, y_S, look.dash, color=look.colour, linewidth=1.5, marker=marker, markersize=3, zorder=3)


def _legend(figure: Figure, run_looks: dict[str, Look]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=1.5) for look in run_looks.values()]
    handles.append(Line2D([], [], color=GREY, linewidth=0.5))
    legend_above(figure, handles, [*run_looks, "single seeds"])
