"""Lookup of single numbers in the summary table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import family, interval_note

FAMILIES = ("greedy", "avg", "pass", "maj")
QUESTION = [
    "benchmark",
    "protocol",
    "metric",
]  # the key of a row of the summary or of the differences, beside the policy
Question = tuple[str, str, str]


class Score(NamedTuple):
    """A score with its interval, as shares."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Column:
    """A metric on a benchmark by one protocol; ``label`` distinguishes it from the benchmark's other columns."""

    benchmark: str
    protocol: str
    metric: str
    label: str

    @property
    def key(self) -> Question:
        """``benchmark``, ``protocol`` and ``metric``, as in the summary."""
        return self.benchmark, self.protocol, self.metric


class Results:
    """Lookup of single numbers in the summary table.

    Args:
        summary: with the columns of `columns.SUMMARY`.
    """

    def __init__(self, summary: pd.DataFrame) -> None:
        self.summary = summary
        keys = summary[["policy", *QUESTION]].itertuples(index=False, name=None)
        numbers = summary[["value", "ci_low", "ci_high"]].itertuples(index=False, name=None)
        self._scores = dict(zip(keys, (Score(*row) for row in numbers), strict=True))
        self._references = dict(zip(summary["policy"], summary["reference"], strict=True))
        of_seeds = summary.loc[summary["seed"].notna(), ["run", "policy"]].drop_duplicates()
        self._seeds = {run: rows["policy"].tolist() for run, rows in of_seeds.groupby("run")}

    def policies(self) -> list[str]:
        """References and runs (with pooled seeds), in the order of the rows."""
        names: list[str] = self.summary.loc[self.summary["seed"].isna(), "policy"].drop_duplicates().tolist()
        return names

    def seeds(self, run: str) -> list[str]:
        """The policies of a run's seeds; empty for a reference."""
        return self._seeds.get(run, [])

    def reference(self, policy: str) -> str:
        """The reference that a policy was trained from; for a reference, itself."""
        return str(self._references[policy])

    def columns(self, families: Sequence[str] = FAMILIES) -> list[Column]:
        """The main metrics of every benchmark: those with the largest k of their protocol."""
        largest = self.summary.groupby(["benchmark", "protocol"])["k"].transform("max")
        main = self.summary.loc[self.summary["k"] == largest, QUESTION].drop_duplicates()
        keys = [key for key in main.itertuples(index=False, name=None) if family(key[2]) in families]
        benchmarks = list(dict.fromkeys(self.summary["benchmark"]))
        labels = Counter((benchmark, metric) for benchmark, _, metric in keys)
        keys.sort(key=lambda key: (benchmarks.index(key[0]), families.index(family(key[2]))))
        return [
            Column(name, protocol, metric, metric if labels[name, metric] == 1 else f"{metric} ({protocol})")
            for name, protocol, metric in keys
        ]

    def score(self, policy: str, column: Column) -> Score | None:
        """A policy's score in a column, if it was evaluated."""
        return self._scores.get((policy, *column.key))

    def change(self, policy: str, column: Column) -> float | None:
        """Difference to the reference in points; None for a reference, or if either was not evaluated."""
        score, reference = self.score(policy, column), self.score(self.reference(policy), column)
        if score is None or reference is None or policy == self.reference(policy):
            return None
        return 100 * (score.value - reference.value)


def percent(value: float) -> str:
    """A share in percent with one decimal."""
    return f"{100 * value:.1f}"


def interval(score: Score) -> str:
    """The interval of a score, in percent."""
    return f"[{percent(score.ci_low)}, {percent(score.ci_high)}]"


def table_note(summary: pd.DataFrame) -> str:
    """Describe what the intervals of a table are over, including those of references and single seeds.

    Args:
        summary: with the columns of `columns.SUMMARY`.
    """
    note = interval_note(summary)
    some = (summary["interval_over"] == OVER_BOTH).any()
    return f"{note} (of references and single seeds: over {OVER_PROBLEMS})" if some else note
