"""What all figures share: a colour-blind-safe palette, type, reproducible files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from astarpo.common.errors import InputError
from astarpo.common.writing import new_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

    from astarpo.figures.settings import Figure as Size

CHARACTERS_PER_INCH = 13  # in a label at font size 8, margins included
P = ParamSpec("P")
T = TypeVar("T")

# Okabe & Ito, "Color Universal Design" (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#808080"

REFERENCE_COLOUR = GREY
METHOD_COLOURS = {
    "a_star_po": VERMILLION,
    "ppo": PURPLE,
    "grpo": SKY,
    "rebel": GREEN,
    "reinforce": BLUE,
    "oapl": ORANGE,
}
OTHER_METHOD_COLOUR = BLACK
PHASE_COLOURS = {
    "stage 1": GREY,
    "generate": BLUE,
    "grade": BLACK,
    "reference pass": YELLOW,
    "update": ORANGE,
}
Dash = Literal["-", "--", ":", "-."]
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLE: dict[RcKeyType, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """How a run is plotted: colour by method; dash and marker distinguish runs of a method."""

    colour: str
    dash: Dash
    marker: str


@contextmanager
def style() -> Iterator[None]:
    """Plot in the project's style, regardless of the user's matplotlib settings."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(plot: Callable[P, T]) -> Callable[P, T]:
    """Make a plotting function use the project's style."""

    @wraps(plot)
    def plot_styled(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return plot(*args, **kwargs)

    return plot_styled


def new_figure(size: Size) -> Figure:
    """Make an empty figure with constrained layout, of the given size."""
    from matplotlib.figure import Figure

    return Figure(figsize=(size.width_in, size.height_in), layout="constrained")


def wrapped(text: str, inches: float) -> str:
    """Break a label into lines that fit along a side of a figure.

    Args:
        text: without line breaks.
        inches: length of that side.
    """
    characters = max(1, int(inches * CHARACTERS_PER_INCH))
    return textwrap.fill(text, characters, break_on_hyphens=False)  # names of runs have hyphens


def save(figure: Figure, png: str | Path, pdf: str | Path, dpi: int) -> None:
    """Write a figure as PNG and PDF; equal figures give equal bytes, as no date or version is written.

    Args:
        figure: the figure.
        png, pdf: the files to write, each atomically.
        dpi: resolution of the PNG.

    Raises:
        InputError: the disk is full or the folder is not writable.
    """
    metadata: dict[str, dict[str, None]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }
    with style():
        for path, kind in ((Path(png), "png"), (Path(pdf), "pdf")):
            with new_file(path) as partial:
                figure.savefig(partial, format=kind, dpi=dpi, metadata=metadata[kind])


def chosen_runs(table: pd.DataFrame, wanted: Sequence[str] | None) -> dict[str, str]:
    """Choose the runs to plot, with their methods.

    Args:
        table: with ``run`` and ``method``; rows without a run are ignored.
        wanted: names of runs, None for all.

    Returns:
        run -> method, in the order of ``wanted`` or of the table.

    Raises:
        InputError: a wanted run is not in the table, or there are no runs.
    """
    rows = table[table["run"].notna()]
    methods = dict(zip(rows["run"], rows["method"], strict=True))
    names = list(methods) if wanted is None else list(wanted)
    for name in names:
        if name not in methods:
            raise InputError(
                f"the figure's `runs` names {name!r}, which is not in the table; it has {', '.join(methods) or 'none'}"
            )
    if not names:
        raise InputError("no run to show: the table has none, or the figure's `runs` is empty")
    return {name: methods[name] for name in names}


def looks(runs: Mapping[str, str]) -> dict[str, Look]:
    """Choose how each run is plotted.

    Args:
        runs: run -> method.

    Returns:
        run -> look; each method has the same colour in every figure.
    """
    seen: dict[str, int] = {}
    chosen = {}
    for run, method in runs.items():
        place = seen[method] = seen.get(method, -1) + 1
        colour = METHOD_COLOURS.get(method, OTHER_METHOD_COLOUR)
        chosen[run] = Look(colour, DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])
    return chosen


def time_unit(seconds: float) -> tuple[float, str]:
    """Choose a readable unit for a duration: its length in seconds, and its symbol."""
    for size, sign in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return size, sign
    return 1.0, "s"


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put one legend for all panels above them."""
    columns = min(len(labels), max(1, int(figure.get_figwidth() / 1.3)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)
