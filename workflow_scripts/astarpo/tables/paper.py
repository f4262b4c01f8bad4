"""The paper's main table, and how its ratios between methods compare with ours."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from astarpo.common.errors import InputError
from astarpo.tables.text import TextTable

Row = Mapping[str, Any]
OURS = "a_star_po"
# Our column (None: the whole training), and the paper's.
QUANTITIES: dict[str, tuple[Callable[[Row], float | None], str]] = {
    "time, both stages": (
        lambda row: (row["stage1_seconds"] or 0.0) + row["stage2_seconds"],
        "time_h",
    ),
    "time, stage 2": (lambda row: row["stage2_seconds"], "time_h"),
    "peak memory": (lambda row: row["peak_memory_bytes"], "memory_percent"),
    "KL a token": (lambda row: row["kl_per_token"], "kl_per_token"),
}


def read_paper(path: str | Path) -> list[dict[str, str]]:
    """Read the paper's table.

    Raises:
        InputError: the file is missing or lacks a column.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    for column in ("size", "method", *(column for _, column in QUANTITIES.values())):
        if not rows or column not in rows[0]:
            raise InputError(f"{path}: column {column!r} is missing")
    return rows


def ratio_table(cost_rows: Sequence[Row], paper: Sequence[Mapping[str, str]]) -> TextTable | None:
    """Set each run's costs against A*-PO's: ours, and those of the same method in the paper.

    Args:
        cost_rows: with the columns of `columns.COST`.
        paper: what `read_paper` returned.

    Returns:
        A table of ratios, run / A*-PO, where more than 1 is dearer; None where nothing is to be compared: there is no
        A*-PO run, or no other method. Of several A*-PO runs the first is the measure.
    """
    method_of = {row["run"]: row["method"] for row in cost_rows}
    own = [run for run, method in method_of.items() if method == OURS]
    others = [run for run, method in method_of.items() if method != OURS]
    if not own or not others:
        return None
    head = ["run", *(f"{name}<br>{who}" for name in QUANTITIES for who in ("here", "paper"))]
    body = []
    for run in others:
        line = [run]
        for number, column in QUANTITIES.values():
            mine, base = _mean(cost_rows, run, number), _mean(cost_rows, own[0], number)
            line.append("" if not mine or not base else f"{mine / base:.2f}")
            line.append(_paper_range(paper, method_of[run], column))
        body.append(line)
    title = f"Costs as multiples of {own[0]}'s; the paper's for 1.5B to 7B"
    return TextTable(title, head, body)


def _mean(rows: Sequence[Row], run: str, number: Callable[[Row], float | None]) -> float | None:
    found = [number(row) for row in rows if row["run"] == run]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known else None


def _paper_range(paper: Sequence[Mapping[str, str]], method: str, column: str) -> str:
    """Lowest to highest ratio of a method to A*-PO over the paper's sizes of model."""
    value = {(row["size"], row["method"]): row[column] for row in paper}
    sizes = dict.fromkeys(row["size"] for row in paper)
    ratios = [
        float(value[size, method]) / float(value[size, OURS])
        for size in sizes
        if value.get((size, method)) and value.get((size, OURS))
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""
