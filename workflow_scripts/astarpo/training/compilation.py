"""Compiled forward passes: torch.compile fuses the operations between a model's matrix products."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from astarpo.common.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from astarpo.model.causal_lm import CausalLM, HiddenStates, Logits


@dataclass(frozen=True)
class CompiledModel:
    """A compiled stand-in for a model, with the same weights.

    Each callable is compiled at its first call, for batches of any shape.

    Attributes:
        model: a causal language model (transformers).
    """

    model: PreTrainedModel

    @cached_property
    def _whole(self) -> Callable[..., Logits]:
        import torch

        return torch.compile(self.model, dynamic=True)

    @cached_property
    def base_model(self) -> Callable[..., HiddenStates]:
        """The model without its head, compiled; see `log_probs`."""
        import torch

        return torch.compile(self.model.base_model, dynamic=True)

    def __call__(self, **inputs: object) -> Logits:
        """Compute the original's output for these inputs, up to rounding."""
        return self._whole(**inputs)


def called(policy: PreTrainedModel, reference: PreTrainedModel, compiled: bool) -> dict[str, CausalLM]:
    """Return what passes call for ``policy`` and ``reference``: the models themselves, or compiled stand-ins."""
    if compiled:
        return {"policy": CompiledModel(policy), "reference": CompiledModel(reference)}
    return {"policy": policy, "reference": reference}


def check_can_compile(device: str) -> None:
    """Refuse to compile if there is no compiler, before any model is read.

    Args:
        device: ``cpu`` needs a C++ compiler, ``cuda`` a C compiler for the code that launches kernels.

    Raises:
        InputError: naming the missing command.
    """
    known = [os.environ.get("CXX"), "g++", "clang++"] if device == "cpu" else [os.environ.get("CC"), "gcc", "clang"]
    if not any(command and shutil.which(command) for command in known):
        raise InputError(
            f"compile_model: true needs a compiler, but there is no {known[1]}: install it (on Debian: apt-get install "
            "g++), or set compile_model: false"
        )
