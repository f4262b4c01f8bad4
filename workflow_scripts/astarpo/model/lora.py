"""LoRA (arXiv 2106.09685): small matrices are trained beside the model's own, which stay the reference's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from astarpo.model.loading import load_policy
from astarpo.model.policy import Policy
from astarpo.model.settings import Lora

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

Module = TypeVar("Module", bound=torch.nn.Module)
MARK = "lora_"  # in the names of the matrices that are trained
BASE = "base_layer"  # where a layer with adapters has its own weights


@dataclass(frozen=True)
class PlainWeight:
    """A weight and the layer whose adapters belong to it, if there is one.

    The sum exists only while it is asked for: of a large model there is no room for a second copy.
    """

    own: Tensor
    layer: BaseTunerLayer | None = None

    def value(self) -> Tensor:
        """W + alpha / rank B A; W itself without adapters."""
        if self.layer is None:
            return self.own
        total = self.own
        for adapter in self.layer.active_adapters:
            total = total + self.layer.get_delta_weight(adapter).detach()
        return total


def inject(model: torch.nn.Module, lora: Lora, seed: int) -> None:
    """Put adapters into a model, in place; its own weights are frozen. At first they change nothing.

    Args:
        model: a causal language model.
        lora: rank, alpha and the layers.
        seed: of the first matrices; the second ones are 0.

    Raises:
        ValueError: the model has no such layers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = lora.targets
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


@contextmanager
def adapters_off(model: torch.nn.Module) -> Iterator[None]:
    """Let a model be the reference for the block: its own weights alone."""
    layers = _layers(model)
    for _, layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for _, layer in layers:
            layer.enable_adapters(True)


def merged(folder: str | Path, lora: Lora, weights: Mapping[str, Tensor]) -> Policy:
    """Make an ordinary policy of a reference and what was trained beside it.

    Args:
        folder: the reference's model folder.
        lora: as for `inject`.
        weights: the trained policy's, by name; those of the adapters are taken.

    Returns:
        W + alpha / rank B A in place of each W that has adapters, fp32, on the CPU.
    """
    policy = load_policy(folder)
    inject(policy.model, lora, seed=0)
    own = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, weight in own.items():
            if MARK in name:
                weight.copy_(weights[name])
    for _, layer in _layers(policy.model):
        layer.merge()
    without_adapters(policy.model).requires_grad_(True)
    return policy


def without_adapters(model: Module) -> Module:
    """Take the adapters out of a model, in place: the layers' own weights stay, as they are.

    Returns:
        The model.
    """
    for name, layer in _layers(model):
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())
    return model


def plain_weights(model: torch.nn.Module) -> dict[str, PlainWeight]:
    """A model's weights as an ordinary model of its kind has them, adapters added, tied ones under all their names."""
    layers = dict(_layers(model))
    found = {}
    for name, weight in model.state_dict().items():
        if MARK not in name:
            layer_name, _, last = name.rpartition(f".{BASE}.")
            adapted = layers.get(layer_name) if last == "weight" else None
            found[name.replace(f".{BASE}.", ".")] = PlainWeight(weight.detach(), adapted)
    return found


def _layers(model: torch.nn.Module) -> list[tuple[str, BaseTunerLayer]]:
    if not any(MARK in name for name, _ in model.named_parameters()):
        return []  # without peft, which need not be installed then
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, part) for name, part in model.named_modules() if isinstance(part, BaseTunerLayer)]
