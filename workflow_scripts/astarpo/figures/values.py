"""How hard the prompts are for the reference: histograms of pass rates and of V*."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from astarpo.common.errors import InputError
from astarpo.figures.settings import Values
from astarpo.figures.style import BLUE, REFERENCE_COLOUR, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALUE_BINS = 25  # between 0 and 1, plus one, as 0 and 1 are at the centres of bins


@styled
def plot(values: pd.DataFrame, settings: Values) -> Figure:
    """Plot two histograms side by side, each with its mean.

    Args:
        values: with the columns of `columns.VALUES`.
        settings: ``width_in``, ``height_in`` and ``value`` (its name, for the title).

    Returns:
        The figure; the title counts the prompts without a grade.

    Raises:
        InputError: no prompt has a value.
    """
    known = values.dropna(subset=["pass_rate", "v_star"])
    if known.empty:
        raise InputError("no prompt has a value: every grade of stage 1 is null")
    n = int(known["n"].max())
    figure = new_figure(settings)
    left, right = figure.subplots(1, 2, sharey=False)
    rate_edges = (np.arange(n + 2) - 0.5) / n
    _histogram(left, known["pass_rate"].to_numpy(), rate_edges, REFERENCE_COLOUR)
    left.set_xlabel(f"pass rate of the reference, {n} samples a prompt")
    value_edges = (np.arange(VALUE_BINS + 2) - 0.5) / VALUE_BINS
    _histogram(right, known["v_star"].to_numpy(), value_edges, BLUE)
    right.set_xlabel(r"estimate of $V^\ast$")
    left.set_ylabel("prompts")
    missing = len(values) - len(known)
    note = f"; {missing:,} without a grade left out" if missing else ""
    figure.suptitle(f"{settings.value}: {len(known):,} prompts{note}", fontsize=9)
    return figure


def _histogram(axis: Axes, numbers: np.ndarray, edges: np.ndarray, colour: str) -> None:
    axis.hist(numbers, bins=edges.tolist(), color=colour, rwidth=0.9)
    mean = float(numbers.mean())
    axis.axvline(mean, color="#000000", linewidth=1, linestyle="--")
    side, place = ("left", 4) if mean < 0.5 else ("right", -4)
    axis.annotate(
        f"mean {mean:.3f}",
        (mean, 1.0),
        (place, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=side,
        va="bottom",
        annotation_clip=False,
    )
    axis.grid(axis="x", visible=False)
    axis.set_xlim(-0.08, 1.08)
