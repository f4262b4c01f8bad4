"""Selecting numbers from the tables, for figures that plot one against another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from astarpo.common.errors import InputError
from astarpo.evaluation.scores import family, interval_note, pooled_runs
from astarpo.figures.style import wrapped

Quantity = Callable[[pd.DataFrame], pd.Series]  # a value for each row of the table of costs


@dataclass(frozen=True)
class MainScores:
    """The scores of one metric on one benchmark: rows of the summary.

    Attributes:
        title: benchmark and metric.
        runs: rows of runs, pooled over seeds; the index is the run.
        seeds: rows of single seeds.
        references: rows of references; the index is the reference.
    """

    title: str
    runs: pd.DataFrame
    seeds: pd.DataFrame
    references: pd.DataFrame

    def seeds_of(self, run: str) -> pd.DataFrame:
        """The rows of a run's seeds."""
        return self.seeds[self.seeds["run"] == run]

    def label(self, runs: list[str], height_in: float) -> str:
        """The label of an axis of scores: the metric, and what the intervals are over.

        Args:
            runs: the runs that are plotted.
            height_in: height of the figure, along which the label runs.
        """
        lines = (f"{self.title} (%)", interval_note(self.runs.loc[runs]))
        return "\n".join(wrapped(line, height_in) for line in lines)


def families(summary: pd.DataFrame) -> pd.Series:
    """The family of metrics of each row of the summary: ``avg`` for ``avg@8``."""
    return summary["metric"].map(family)


def main_scores(summary: pd.DataFrame, benchmark: str | None, metric: str) -> MainScores:
    """Pick the scores of one metric on one benchmark.

    Args:
        summary: with the columns of `columns.SUMMARY`.
        benchmark: its name, None for the first.
        metric: a family: ``greedy``, ``avg``, ``pass`` or ``maj``; of several k, the largest.

    Raises:
        InputError: the table has no such benchmark or metric.
    """
    name = benchmark if benchmark is not None or summary.empty else summary["benchmark"].iloc[0]
    chosen = summary[(summary["benchmark"] == name) & (families(summary) == metric)]
    if chosen.empty:
        there = sorted(set(summary["benchmark"] + " " + families(summary)))
        raise InputError(f"the summary has no {metric!r} of benchmark {name!r}; it has {', '.join(there) or 'nothing'}")
    chosen = chosen[chosen["k"] == chosen["k"].max()]
    return MainScores(
        f"{name}, {chosen['metric'].iloc[0]}",
        pooled_runs(chosen).set_index("run", drop=False),
        chosen[chosen["run"].notna() & chosen["seed"].notna()],
        chosen[chosen["run"].isna()].set_index("policy", drop=False),
    )


def costs_of(cost: pd.DataFrame, run: str, quantity: Quantity) -> list[float]:
    """A quantity for each seed of a run; unknown values are left out.

    Args:
        cost: with the columns of `columns.COST`.
        run: its name.
        quantity: what to compute.
    """
    known: list[float] = quantity(cost[cost["run"] == run]).dropna().astype(float).tolist()
    return known


def percent_error(score: pd.Series) -> list[list[float]]:
    """The interval of a row of the summary as matplotlib expects it: lengths below and above, in percent."""
    value = score["value"]
    return [[100 * (value - score["ci_low"])], [100 * (score["ci_high"] - value)]]
