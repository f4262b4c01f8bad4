"""What training sets and benchmarks share, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from astarpo.tables.page import page, table
from astarpo.tables.text import TextTable

COLUMNS = (
    "dataset",
    "benchmark",
    "dataset_problems",
    "benchmark_problems",
    "dataset_exact",
    "dataset_exact_or_near",
    "benchmark_exact",
    "benchmark_exact_or_near",
    "ngram",
    "threshold",
)
SHOWN = 20  # pairs of a pair of sets that the page spells out


def contamination_page(found: Sequence[Mapping[str, Any]]) -> str:
    """Make a page of counts and of the closest pairs.

    Args:
        found: what `contamination.report` gives, with the names ``dataset`` and ``benchmark``.
    """
    head = [
        "training set",
        "benchmark",
        "problems<br>of the benchmark",
        "of them exactly in<br>the training set",
        "exactly or nearly",
    ]
    body = [
        [
            entry["dataset"],
            entry["benchmark"],
            f"{entry['benchmark_problems']:,}",
            f"{entry['benchmark_exact']:,}",
            f"{entry['benchmark_exact_or_near']:,}",
        ]
        for entry in found
    ]
    rules = {f"near: {entry['threshold']:.0%} of the {entry['ngram']}-grams are the same" for entry in found}
    parts = [table(TextTable("; ".join(sorted(rules)) or "no benchmark in use", head, body))]
    parts += [_pairs(entry) for entry in found if entry["listed"]]
    return page("Problems that training sets share with benchmarks", "\n".join(parts))


def _pairs(entry: Mapping[str, Any]) -> str:
    listed = entry["listed"][:SHOWN]
    title = f"{entry['dataset']} and {entry['benchmark']}: {len(listed)} of {entry['pairs']} pairs"
    rows = "\n".join(
        f"<tr><td>{pair['kind']}<br>{pair['overlap']:.0%}</td><td class=text>{escape(pair['dataset_problem'])}</td>"
        f"<td class=text>{escape(pair['benchmark_problem'])}</td></tr>"
        for pair in listed
    )
    head = "<tr><th></th><th class=text>in training</th><th class=text>in the benchmark</th></tr>"
    return f"<details><summary>{escape(title)}</summary>\n<table>{head}\n{rows}</table></details>"
