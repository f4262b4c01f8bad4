"""Plotting a figure of any kind from its settings and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from astarpo.common.columns import COST, CURVES, FORECAST, SUMMARY, VALUES
from astarpo.common.errors import InputError
from astarpo.common.frames import read_frame
from astarpo.common.kept_steps import KEPT_STEPS
from astarpo.figures import PLOTS, TABLES
from astarpo.figures.settings import FigureSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = {
    "summary": SUMMARY,
    "cost": COST,
    "curves": CURVES,
    "kept_steps": KEPT_STEPS,
    "values": VALUES,
    "forecast": FORECAST,
}


def plot(settings: FigureSettings, paths: Mapping[str, str]) -> Figure:
    """Plot a figure.

    Args:
        settings: of the figure.
        paths: table, as in `TABLES` -> parquet file.

    Returns:
        The figure, not yet written.

    Raises:
        InputError: a table is not given or lacks a column, or there is nothing to show.
    """
    kind = settings.kind
    missing = [name for name in TABLES[kind] if name not in paths]
    if missing:
        raise InputError(
            f"a figure of kind {kind!r} shows the table {missing[0]!r}: give --{missing[0].replace('_', '-')} FILE"
        )
    tables = {name: read_frame(paths[name], COLUMNS[name]) for name in TABLES[kind]}
    return PLOTS[kind](**tables, settings=settings)
