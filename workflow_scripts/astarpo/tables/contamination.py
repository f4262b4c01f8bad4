"""The page of problems that training sets share with benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import pyarrow as pa

from astarpo.tables.rendering import render
from astarpo.tables.shown import ShownTable

COLUMNS = pa.schema(
    [
        ("dataset", pa.string()),
        ("benchmark", pa.string()),
        ("dataset_problems", pa.int64()),
        ("benchmark_problems", pa.int64()),
        ("dataset_exact", pa.int64()),
        ("dataset_exact_or_near", pa.int64()),
        ("benchmark_exact", pa.int64()),
        ("benchmark_exact_or_near", pa.int64()),
        ("ngram", pa.int64()),
        ("threshold", pa.float64()),
    ]
)
SHOWN = 20  # problems listed for each pair of sets


class Pair(TypedDict):
    """Two problems that are equal, or nearly; ``overlap`` is the share of common n-grams."""

    kind: str
    overlap: float
    dataset_problem: str
    benchmark_problem: str


class Shared(TypedDict):
    """The result of `contamination.report`, with the names of the two sets."""

    dataset: str
    benchmark: str
    dataset_problems: int
    benchmark_problems: int
    dataset_exact: int
    dataset_exact_or_near: int
    benchmark_exact: int
    benchmark_exact_or_near: int
    ngram: int
    threshold: float
    pairs: int
    listed: list[Pair]


def contamination_page(overlaps: Sequence[Shared]) -> str:
    """Make a page of counts and of the closest pairs."""
    head = [
        ("training set", ""),
        ("benchmark", ""),
        ("problems", "of the benchmark"),
        ("of them exactly in", "the training set"),
        ("exactly or nearly", ""),
    ]
    body = [
        [
            entry["dataset"],
            entry["benchmark"],
            f"{entry['benchmark_problems']:,}",
            f"{entry['benchmark_exact']:,}",
            f"{entry['benchmark_exact_or_near']:,}",
        ]
        for entry in overlaps
    ]
    rules = {f"near: {entry['threshold']:.0%} of the {entry['ngram']}-grams are the same" for entry in overlaps}
    return render(
        "contamination.html.j2",
        title="Problems that training sets share with benchmarks",
        counts=ShownTable.of("; ".join(sorted(rules)) or "no benchmark in use", head, body),
        overlaps=[{**entry, "listed": entry["listed"][:SHOWN]} for entry in overlaps if entry["listed"]],
    )
