"""Plotting a figure of any kind from its settings and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from astarpo.common.columns import COST, CURVES, SUMMARY, VALUES
from astarpo.common.errors import InputError
from astarpo.common.frames import read_frame
from astarpo.figures import PLOTS, TABLES
from astarpo.figures.style import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = {"summary": SUMMARY, "cost": COST, "curves": CURVES, "values": VALUES}


def plot(settings: Settings, paths: Mapping[str, str]) -> Figure:
    """Plot a figure.

    Args:
        settings: ``kind`` and the other keys of that kind in the configuration.
        paths: table, as in `TABLES` -> parquet file.

    Returns:
        The figure, not yet written.

    Raises:
        InputError: the kind is unknown, a table is not given or lacks a column, or there is nothing to show.
    """
    kind = settings["kind"]
    if kind not in PLOTS:
        raise InputError(f"kind = {kind!r}: no such figure; choose one of {', '.join(PLOTS)}")
    missing = [name for name in TABLES[kind] if name not in paths]
    if missing:
        raise InputError(f"a figure of kind {kind!r} shows the table {missing[0]!r}: give --{missing[0]} FILE")
    tables = {name: read_frame(paths[name], COLUMNS[name]) for name in TABLES[kind]}
    figure: Figure = PLOTS[kind](**tables, settings=settings)
    return figure
