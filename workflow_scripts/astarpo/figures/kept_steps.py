"""Accuracy over a training: the reference, the policies after kept steps, and the exported one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import family, interval_note
from astarpo.figures.settings import KeptSteps
from astarpo.figures.style import (
    GREY,
    REFERENCE_COLOUR,
    Look,
    chosen_runs,
    legend_above,
    looks,
    new_figure,
    styled,
    time_unit,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def plot(kept_steps: pd.DataFrame, settings: KeptSteps) -> Figure:
    """Plot a line for the mean over each run's seeds, with intervals, and a thin one for each seed.

    Args:
        kept_steps: with the columns of `kept_steps.KEPT_STEPS`.
        settings: ``width_in``, ``height_in``, ``runs`` (null: all), ``x`` (``step``, ``trained_tokens`` or
            ``seconds``), ``benchmark`` (null: the first) and ``metric`` (a family, as ``avg``).

    Returns:
        The figure. Exported policies have a larger, hollow marker. The line of means has only the steps that all
        seeds reached: a mean over fewer seeds is of other trainings.

    Raises:
        InputError: there is nothing to show.
    """
    rows = _main_rows(kept_steps, settings)
    runs = looks(chosen_runs(rows, settings.runs))
    rows = rows[rows["run"].isin(list(runs))]
    unit, label = _axis(rows, settings.x)
    figure = new_figure(settings)
    axis = figure.subplots()
    for run, look in runs.items():
        of_run = rows[rows["run"] == run]
        _plot_run(axis, of_run.assign(x=_places(of_run, settings.x) / unit, y=100 * of_run["value"]), look)
    title = f"{rows['benchmark'].iloc[0]}, {rows['metric'].iloc[0]} (%)"
    axis.set_ylabel("\n".join(wrapped(line, settings.height_in) for line in (title, _note(rows))))
    axis.set_xlabel(label)
    axis.set_xlim(left=-0.02 * axis.get_xlim()[1])
    _legend(figure, runs, rows.loc[rows["point"] == "reference", "policy"].drop_duplicates().tolist())
    return figure


def _note(rows: pd.DataFrame) -> str:
    """What the intervals are over, including those of references."""
    note = interval_note(rows[rows["seed"].isna() & (rows["point"] != "reference")])
    return f"{note} (of references: over {OVER_PROBLEMS})" if (rows["interval_over"] == OVER_BOTH).any() else note


def _main_rows(table: pd.DataFrame, settings: KeptSteps) -> pd.DataFrame:
    """The rows of one metric on one benchmark; of several k, the largest, and of several protocols, the first."""
    scored = table[table["metric"].notna()]
    benchmark = settings.benchmark or (scored["benchmark"].iloc[0] if len(scored) else None)
    families = scored["metric"].map(family)
    chosen = scored[(scored["benchmark"] == benchmark) & (families == settings.metric)]
    if chosen.empty:
        there = ", ".join(sorted(set(scored["benchmark"] + " " + families))) or "nothing"
        raise InputError(f"the kept steps have no {settings.metric!r} of benchmark {benchmark!r}; they have {there}")
    chosen = chosen[chosen["k"] == chosen["k"].max()]
    return chosen[chosen["protocol"] == chosen["protocol"].iloc[0]]


def _axis(rows: pd.DataFrame, x: str) -> tuple[float, str]:
    """The unit of the horizontal axis, and its label."""
    if x == "seconds":
        unit, sign = time_unit(rows["seconds"].max())
        return unit, f"training time without stage 1 ({sign})"
    return 1.0, {"step": "step", "trained_tokens": "tokens trained on"}[x]


def _places(rows: pd.DataFrame, x: str) -> pd.Series:
    """Where the rows of a run are; seeds that exported different steps are at the mean of these."""
    if x != "step":
        return rows[x].astype(float)
    exported = rows[(rows["point"] == "exported") & rows["seed"].notna()]
    return rows["step"].astype("float64[pyarrow]").fillna(float(exported["step"].mean())).astype(float)


def _plot_run(axis: Axes, rows: pd.DataFrame, look: Look) -> None:
    start = rows[rows["point"] == "reference"]
    seeds = rows["seed"].dropna().drop_duplicates().tolist()
    for seed in seeds if len(seeds) > 1 else ():
        line = pd.concat([start, rows[rows["seed"] == seed]]).sort_values("x", kind="stable")
        axis.plot(line["x"], line["y"], color=look.colour, linewidth=0.5, alpha=0.35)
    complete = rows["seed"].isna() & ((rows["n_seeds"] == len(seeds)) | (rows["point"] == "reference"))
    means = rows[complete].sort_values("x", kind="stable")
    axis.plot(means["x"], means["y"], look.dash, color=look.colour, linewidth=1.5, zorder=3)
    for row in means.itertuples():
        error = [[row.y - 100 * row.ci_low], [100 * row.ci_high - row.y]]
        reference, exported = row.point == "reference", row.point == "exported"
        axis.errorbar(
            row.x,
            row.y,
            yerr=error,
            fmt=look.marker,
            color=REFERENCE_COLOUR if reference else look.colour,
            markerfacecolor="none" if exported else None,
            markersize=8 if exported else 4,
            elinewidth=1.0,
            capsize=2,
            zorder=4,
        )


def _legend(figure: Figure, runs: dict[str, Look], references: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4)
        for look in runs.values()
    ]
    handles += [Line2D([], [], color=REFERENCE_COLOUR, linestyle="", marker="o", markersize=4) for _ in references]
    handles.append(Line2D([], [], color=GREY, linestyle="", marker="o", markersize=8, markerfacecolor="none"))
    handles.append(Line2D([], [], color=GREY, linewidth=0.5))
    legend_above(figure, handles, [*runs, *references, "exported", "single seeds"])
