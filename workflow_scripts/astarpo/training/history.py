"""The rows of a training's two tables, as they come to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from astarpo.training.metrics import METRICS, TIMINGS

Row = dict[str, float | None]  # column -> value; counts are integers


@dataclass
class History:
    """Rows of the two tables, one a step; row 0 holds the validation before training.

    ``method_metrics`` names the metrics that the method has besides those of every method.
    """

    method_metrics: tuple[str, ...] = ()
    metrics: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)

    def generated_tokens(self) -> int:
        """Tokens of all responses drawn to train on."""
        return int(sum(row["generated_tokens"] or 0 for row in self.metrics))

    def append(self, step: int, metrics: Mapping[str, float | None], timings: Mapping[str, float | None]) -> None:
        """Add a step; columns that it does not have are null."""
        names = (*METRICS.names, *self.method_metrics)
        self.metrics.append({name: {"step": step, **metrics}.get(name) for name in names})
        self.timings.append({name: {"step": step, **timings}.get(name) for name in TIMINGS.names})
