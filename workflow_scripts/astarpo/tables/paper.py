"""Ratios of costs between methods, ours beside those in the paper's main table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.evaluation.costs import both_stages_seconds
from astarpo.tables.shown import ShownTable

OURS = "a_star_po"
# Quantity -> our numbers, from the table of costs, and the paper's column.
QUANTITIES: dict[str, tuple[Callable[[pd.DataFrame], pd.Series], str]] = {
    "time, both stages": (both_stages_seconds, "time_h"),
    "time, stage 2": (lambda cost: cost["stage2_seconds"], "time_h"),
    "peak memory": (lambda cost: cost["peak_memory_bytes"], "memory_percent"),
    "KL per token": (lambda cost: cost["kl_per_token"], "kl_per_token"),
}


def read_paper(path: str | Path) -> pd.DataFrame:
    """Read the paper's table.

    Raises:
        InputError: the file is missing or lacks a column.
    """
    try:
        table = pd.read_csv(path, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    for column in ("size", "method", *(column for _, column in QUANTITIES.values())):
        if column not in table or table.empty:
            raise InputError(f"{path}: column {column!r} is missing")
    return table


def ratio_table(cost: pd.DataFrame, paper: pd.DataFrame) -> ShownTable | None:
    """Divide each run's costs by A*-PO's: here, and for the same method in the paper.

    Args:
        cost: with the columns of `columns.COST`.
        paper: the result of `read_paper`.

    Returns:
        A table of ratios, run / A*-PO: above 1, the run costs more. None without an A*-PO run or another method. With
        several A*-PO runs the first is the denominator.
    """
    method_of = dict(zip(cost["run"], cost["method"], strict=True))
    our_runs = [run for run, method in method_of.items() if method == OURS]
    others = [run for run, method in method_of.items() if method != OURS]
    if not our_runs or not others:
        return None
    means = {name: number(cost).groupby(cost["run"]).mean() for name, (number, _) in QUANTITIES.items()}
    body = []
    for run in others:
        line = [run]
        for name, (_, column) in QUANTITIES.items():
            mine, base = (means[name].dropna().get(one) for one in (run, our_runs[0]))
            line.append(f"{mine / base:.2f}" if mine and base else "")
            line.append(_paper_range(paper, method_of[run], column))
        body.append(line)
    head = [("run", ""), *((name, who) for name in QUANTITIES for who in ("here", "paper"))]
    return ShownTable.of(f"Costs as multiples of {our_runs[0]}'s; the paper's for 1.5B to 7B", head, body)


def _paper_range(paper: pd.DataFrame, method: str, column: str) -> str:
    """Lowest to highest ratio of a method to A*-PO over the paper's model sizes."""
    by_size = paper.pivot_table(index="size", columns="method", values=column, aggfunc="last")
    if method not in by_size or OURS not in by_size:
        return ""
    ratios = (by_size[method] / by_size[OURS]).dropna()
    return f"{ratios.min():.2f} to {ratios.max():.2f}" if len(ratios) else ""
