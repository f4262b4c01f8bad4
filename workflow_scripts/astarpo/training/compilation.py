"""Compiled forward passes: torch.compile fuses the operations between a model's matrix products."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from astarpo.common.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from astarpo.common.machine import MachineSettings
    from astarpo.model.causal_lm import CausalLM, HiddenStates, Logits
    from astarpo.training.settings import TrainSettings

FEW_STEPS = 50  # of which a minute for compiling is a large part


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


def compiles(settings: TrainSettings, machine: MachineSettings, shared: bool, attention: str) -> tuple[bool, str]:
    """Decide whether the passes of a training are compiled, which on a CPU only ``compile_model: true`` asks for.

    Args:
        settings, machine: of the run.
        shared: whether plain passes read once what prompts have in common; compiled ones cannot.
        attention: of the model, as transformers names it; with flash attention rows are packed, too.

    Returns:
        The decision, and the reason against or for it.
    """
    wanted = settings.compile_model
    if wanted != "auto":
        return wanted, f"compile_model is {str(wanted).lower()}"
    reasons = {
        "machine.device is cpu": machine.device == "cpu",
        f"engine is {settings.engine}": settings.engine != "torch",
        "lora": settings.lora is not None,
        "machine.activation_checkpointing": machine.activation_checkpointing,
        f"fewer than {FEW_STEPS} steps": settings.steps < FEW_STEPS,
        f"attention is {attention}": attention.startswith("flash_attention"),
        "rows are packed": machine.packing is True,
        "what prompts share is read once": shared,
    }
    against = next((reason for reason, applies in reasons.items() if applies), None) or missing_tool(machine.device)
    return (True, "on a GPU") if against is None else (False, against)


def missing_tool(device: str) -> str | None:
    """Say what compiled passes need and is not here; None if there is all.

    Args:
        device: ``cpu`` needs a C++ compiler, ``cuda`` a C compiler for the code that launches kernels, and triton.
    """
    if compiler(device) is None:
        return f"no {_compilers(device)[1]}"
    return "no triton" if device == "cuda" and importlib.util.find_spec("triton") is None else None


def compiler(device: str) -> str | None:
    """Return the command that compiles for a device, None if none of those known is on the PATH; see `missing_tool`."""
    return next((command for command in _compilers(device) if command and shutil.which(command)), None)


def check_can_compile(device: str) -> None:
    """Refuse ``compile_model: true`` if there is no compiler, before any model is read.

    triton is not looked for, as it comes with the torch that the training will have, which may not be this one's.

    Args:
        device: see `missing_tool`.

    Raises:
        InputError: naming the missing command.
    """
    if compiler(device) is None:
        raise InputError(
            f"compile_model: true needs a compiler, but there is no {_compilers(device)[1]}: install it (on Debian: "
            "apt-get install g++), or set compile_model: false"
        )


def _compilers(device: str) -> list[str | None]:
    return [os.environ.get("CXX"), "g++", "clang++"] if device == "cpu" else [os.environ.get("CC"), "gcc", "clang"]
