"""The interface of a causal language model, whether plain transformers or compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class HiddenStates(Protocol):
    """The output of a model without its head."""

    @property
    def last_hidden_state(self) -> Tensor:
        """[B, S, H]."""
        ...


class Logits(Protocol):
    """The output of a model."""

    @property
    def logits(self) -> Tensor:
        """[B, S, V], or only the last positions."""
        ...


class CausalLM(Protocol):
    """A model that predicts the next token, with and without its head."""

    @property
    def base_model(self) -> Callable[..., HiddenStates]:
        """The model without its head."""
        ...

    def __call__(
        self, *, input_ids: Tensor, use_cache: bool, logits_to_keep: int | Tensor = 0, **more: object
    ) -> Logits:
        """Compute the logits of the last ``logits_to_keep`` positions, of all if 0, or of those with these indices."""
        ...
