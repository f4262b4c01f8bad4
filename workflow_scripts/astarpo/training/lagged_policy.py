"""The policy of the last synchronisation, for methods that sample from it for several updates (OAPL)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class LaggedWeights:
    """A second set of a model's trained weights.

    Args:
        model: the unsharded model that is sampled from.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        self.weights: list[Tensor] = []
        self.synchronise()

    def synchronise(self) -> None:
        """Make the current weights the lagged ones."""
        self.weights = [weight.detach().clone() for weight in self.parameters]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the lagged weights within the block.

        The tensors are swapped in place, so that every holder of the model sees them.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for index, parameter in enumerate(self.parameters):
            self.weights[index], parameter.data = parameter.data, self.weights[index]

    def load(self, weights: Sequence[Tensor]) -> None:
        """Restore the lagged weights from a checkpoint."""
        pairs = zip(self.parameters, weights, strict=True)
        self.weights = [weight.to(parameter.device) for parameter, weight in pairs]
