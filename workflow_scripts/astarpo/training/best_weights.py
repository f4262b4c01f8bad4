"""The weights of the best validation so far, for `keep: {best: validation_reward}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from astarpo.training.engine import TorchEngine
from astarpo.training.history import Row
from astarpo.training.states import BestState


def best_step(rows: Sequence[Row]) -> int | None:
    """The step with the highest validation reward, of equal ones the earliest; None before the first validation.

    Args:
        rows: metrics of all steps so far; step 0 counts as well.
    """
    validated = [(reward, int(row["step"] or 0)) for row in rows if (reward := row["validation_reward"]) is not None]
    return max(validated, key=lambda one: (one[0], -one[1]))[1] if validated else None


class BestWeights:
    """A copy of the best weights, in the memory of the first process and in every checkpoint.

    In the checkpoint, they always belong to its history: a training that resumes from an older one has the best weights
    as of then.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.weights: dict[str, Tensor] = {}

    def update(self, rows: Sequence[Row], engine: TorchEngine) -> None:
        """Copy the weights if the last step is the best one; every process must call this.

        Args:
            rows: metrics of all steps so far.
            engine: with the weights of the last step.
        """
        if best_step(rows) != rows[-1]["step"]:
            return
        weights = engine.full_weights()
        self.step = best_step(rows)
        if engine.world.is_first:
            self.weights = _copied(weights)

    def state(self) -> BestState:
        """Return the state for a checkpoint."""
        return {"step": self.step, "weights": self.weights}

    def load_state(self, state: BestState, is_first: bool = True) -> None:
        """Restore the state from a checkpoint; only the first process needs the weights."""
        self.step, self.weights = state["step"], state["weights"] if is_first else {}


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights to CPU memory; tied ones stay tied."""
    copies: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    named = {}
    for name, weight in weights.items():
        key = weight.data_ptr(), tuple(weight.shape)
        if key not in copies:
            copies[key] = weight.detach().to("cpu", copy=True)
        named[name] = copies[key]
    return named
