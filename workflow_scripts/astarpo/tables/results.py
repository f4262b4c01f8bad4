"""The summary table, ready to be asked for what a table shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import interval_note

Row = Mapping[str, Any]
FAMILIES = ("greedy", "avg", "pass", "maj")


@dataclass(frozen=True)
class Column:
    """A metric of a benchmark by a protocol; ``label`` tells it from the benchmark's other ones."""

    benchmark: str
    protocol: str
    metric: str
    label: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row of the summary must have in ``benchmark``, ``protocol`` and ``metric``."""
        return self.benchmark, self.protocol, self.metric


class Results:
    """The summary table, ready to be asked for single numbers.

    Args:
        rows: with the columns of `columns.SUMMARY`.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._cells = {(row["policy"], *asked(row)): row for row in rows}
        seeds = [row for row in rows if row["seed"] is not None]
        self._seeds = {row["run"]: list[str]() for row in seeds}
        self._references = {row["policy"]: row["reference"] for row in rows}
        for row in seeds:
            if row["policy"] not in self._seeds[row["run"]]:
                self._seeds[row["run"]].append(row["policy"])

    def policies(self) -> list[str]:
        """References and runs (as mean over their seeds), in the order of the rows."""
        return list(dict.fromkeys(row["policy"] for row in self.rows if row["seed"] is None))

    def seeds(self, run: str) -> list[str]:
        """The policies that a run's seeds are; none for a reference."""
        return self._seeds.get(run, [])

    def reference(self, policy: str) -> str:
        """What a policy was trained from; of a reference, itself."""
        return str(self._references[policy])

    def columns(self, families: Sequence[str] = FAMILIES) -> list[Column]:
        """The main metrics of every benchmark, those with their protocol's largest k."""
        largest: dict[tuple[str, str], int] = {}
        for row in self.rows:
            protocol = (row["benchmark"], row["protocol"])
            largest[protocol] = max(row["k"], largest.get(protocol, 0))
        found = dict.fromkeys(
            asked(row)
            for row in self.rows
            if family(row["metric"]) in families and row["k"] == largest[row["benchmark"], row["protocol"]]
        )
        benchmarks = list(dict.fromkeys(benchmark for benchmark, _ in largest))
        places = {key: (benchmarks.index(key[0]), families.index(family(key[2]))) for key in found}
        labels = Counter((benchmark, metric) for benchmark, _, metric in found)
        return [
            Column(*key, key[2] if labels[key[0], key[2]] == 1 else f"{key[2]} ({key[1]})")
            for key in sorted(found, key=lambda key: places[key])
        ]

    def cell(self, policy: str, column: Column) -> Row | None:
        """The row of a policy for a column, if it was evaluated so."""
        return self._cells.get((policy, *column.key))

    def change(self, row: Row) -> float | None:
        """Difference to the reference in points; None for a reference."""
        reference = self._cells.get((row["reference"], *asked(row)))
        if row["run"] is None or reference is None:
            return None
        return 100 * (float(row["value"]) - float(reference["value"]))


def asked(row: Row) -> tuple[str, str, str]:
    """What a row of the summary is about: benchmark, protocol, metric."""
    return row["benchmark"], row["protocol"], row["metric"]


def family(metric: str) -> str:
    """``avg`` of ``avg@8``."""
    return metric.split("@")[0]


def percent(value: float) -> str:
    """A share as percent with one decimal."""
    return f"{100 * value:.1f}"


def interval(row: Row) -> str:
    """The interval of a row, in percent."""
    return f"[{percent(row['ci_low'])}, {percent(row['ci_high'])}]"


def table_note(rows: Sequence[Row]) -> str:
    """Say what the intervals of a table are over, those of references and of single seeds included.

    Args:
        rows: of the summary.
    """
    note = interval_note(rows)
    some = any(row["interval_over"] == OVER_BOTH for row in rows)
    return f"{note} (of references and single seeds: over {OVER_PROBLEMS})" if some else note
