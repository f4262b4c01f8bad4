"""The rows of a training's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from astarpo.training.metrics import METRICS, TIMINGS

Row = dict[str, float | None]  # column -> value; counts are integers


class KeptRollout(TypedDict):
    """The columns of `columns.ROLLOUTS`: a response to a validation prompt."""

    step: int
    prompt_id: str
    prompt: str
    gold: str
    response: str
    finish_reason: str
    n_tokens: int
    reward: float | None
    status: str


@dataclass
class History:
    """Rows of metrics and timings, one per step, and of kept rollouts; row 0 holds the validation before training.

    ``method_metrics`` names the method's additional metrics.
    """

    method_metrics: tuple[str, ...] = ()
    metrics: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)
    rollouts: list[KeptRollout] = field(default_factory=list)

    def generated_tokens(self) -> int:
        """Count the tokens of all training responses."""
        return int(sum(row["generated_tokens"] or 0 for row in self.metrics))

    def rows(self) -> list[Row]:
        """Return metrics and timings of each step in one row."""
        return [{**metrics, **timings} for metrics, timings in zip(self.metrics, self.timings, strict=True)]

    def append(
        self,
        step: int,
        metrics: Mapping[str, float | None],
        timings: Mapping[str, float | None],
        rollouts: Sequence[KeptRollout] = (),
    ) -> None:
        """Add a step; missing columns are null."""
        names = (*METRICS.names, *self.method_metrics)
        self.metrics.append({name: {"step": step, **metrics}.get(name) for name in names})
        self.timings.append({name: {"step": step, **timings}.get(name) for name in TIMINGS.names})
        self.rollouts.extend(rollouts)
