"""What a checkpoint holds."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class CriticState(TypedDict, total=False):
    """A critic's weights and the state of its optimizer; nothing where an engine keeps them in shards."""

    model: dict[str, Tensor]
    optimizer: dict[str, object]


class EngineState(TypedDict, total=False):
    """The policy's weights and the state of its optimizer, and what some methods train or keep besides."""

    model: dict[str, Tensor]
    optimizer: dict[str, object]
    critic: CriticState
    lagged: list[Tensor]


class StatisticsState(TypedDict):
    """See `running_statistics.RunningStatistics`."""

    reward_sum: float
    reward_weight: float
    successes: dict[str, float]


class TrainingState(TypedDict):
    """All of it; ``history`` is JSON."""

    engine: EngineState
    statistics: StatisticsState
    history: str
