"""The contents of a checkpoint."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class CriticState(TypedDict, total=False):
    """A critic's weights and optimizer state; empty if the engine keeps them in shards."""

    model: dict[str, Tensor]
    optimizer: dict[str, object]


class EngineState(TypedDict, total=False):
    """The policy's weights and optimizer state, and what some methods also train or keep."""

    model: dict[str, Tensor]
    optimizer: dict[str, object]
    critic: CriticState
    lagged: list[Tensor]


class ValueScaleState(TypedDict):
    """The state of `value_scale.ValueScale`."""

    weighted_reward: float
    weighted_value: float
    rollouts: int


class StatisticsState(TypedDict):
    """The state of `running_statistics.RunningStatistics`."""

    reward_sum: float
    reward_weight: float
    successes: dict[str, float]
    value_scale: ValueScaleState


class BestState(TypedDict):
    """The state of `best_weights.BestWeights`."""

    step: int | None
    weights: dict[str, Tensor]


class TrainingState(TypedDict):
    """The complete state.

    ``history`` is JSON, ``kept`` the checksums of `kept_steps.KeptSteps` by step, ``pending`` the state of
    `pipeline.RolloutsAhead`, empty without one.
    """

    engine: EngineState
    statistics: StatisticsState
    history: str
    best: BestState
    kept: dict[int, str]
    pending: str
