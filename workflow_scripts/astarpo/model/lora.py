"""LoRA (arXiv 2106.09685): trains small matrices beside the model's weights, which stay those of the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from astarpo.model.frozen_base import dequantised, load_base, restore
from astarpo.model.policy import Policy
from astarpo.model.settings import Lora
from astarpo.model.sharding import is_sharded, shape_of, whole

if TYPE_CHECKING:
    from peft.tuners.tuners_utils import BaseTunerLayer

Module = TypeVar("Module", bound=torch.nn.Module)
MARK = "lora_"  # in the names of the trained matrices
BASE = "base_layer"  # holds the original weights of a layer with adapters
QUANTISED = re.compile(r"weight\.(absmax|quant_map|quant_state\.|nested_)")  # how bitsandbytes stores a weight


@dataclass(frozen=True)
class PlainWeight:
    """A weight, sharded or not, and the layer with its adapters, if any.

    The whole weight is gathered, and the sum computed, on demand: a second copy of a large model would not fit.
    """

    base: Tensor
    layer: BaseTunerLayer | None = None

    def value(self) -> Tensor:
        """W + alpha / rank B A, or W without adapters; a collective call if weights are sharded."""
        if self.layer is None:
            with whole([self.base]):
                return dequantised(self.base).detach()
        adapters = [weight for name, weight in self.layer.named_parameters() if MARK in name]
        with whole([self.base, *adapters]), torch.no_grad():
            total = dequantised(self.base).detach()
            for adapter in self.layer.active_adapters:
                total = total + self.layer.get_delta_weight(adapter)
            return total

    def __len__(self) -> int:
        """Rows of the whole weight."""
        state = getattr(self.base, "quant_state", None)
        return shape_of(self.base)[0] if state is None else state.shape[0]


def inject(model: torch.nn.Module, lora: Lora, seed: int) -> None:
    """Add adapters to a model, in place, and freeze its weights. Initially they change nothing.

    Args:
        model: a causal language model.
        lora: rank, alpha and target layers.
        seed: of the first matrices; the second ones start at 0.

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
    if lora.base_precision != "float32":  # peft gives them the base's type
        for name, weight in model.named_parameters():
            if MARK in name and not is_sharded(weight):
                weight.data = weight.data.float()


@contextmanager
def adapters_off(model: torch.nn.Module) -> Iterator[None]:
    """Disable the adapters within the block, so that the model is the reference."""
    layers = _layers(model)
    for _, layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for _, layer in layers:
            layer.enable_adapters(True)


def merged(folder: str | Path, lora: Lora, weights: Mapping[str, Tensor], trust_remote_code: bool = False) -> Policy:
    """Merge a reference and its trained adapters into an ordinary policy.

    Args:
        folder: the reference's model folder.
        lora: as for `inject`.
        weights: the trained policy's, by name; only those of the adapters are used.
        trust_remote_code: whether the model's own code may run.

    Returns:
        The policy, with W + alpha / rank B A in place of each W that has adapters, in fp32 on the CPU; W is rounded as
        it was in training.
    """
    policy = load_base(folder, lora, trust_remote_code=trust_remote_code)
    if lora.base_precision != "float32":
        restore(policy.model)
    inject(policy.model, lora, seed=0)
    parameters = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, weight in parameters.items():
            if MARK in name:
                weight.copy_(weights[name])
    for _, layer in _layers(policy.model):
        layer.merge()
    without_adapters(policy.model).requires_grad_(True)
    return policy


def without_adapters(model: Module) -> Module:
    """Remove the adapters from a model, in place, leaving the layers' weights unchanged.

    Returns:
        The model.
    """
    for name, layer in _layers(model):
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())
    return model


def plain_weights(model: torch.nn.Module) -> dict[str, PlainWeight]:
    """Return a model's weights as in a model without adapters: merged on demand, tied ones under all their names."""
    layers = dict(_layers(model))
    weights = {}
    for name, weight in model.state_dict(keep_vars=True).items():
        if MARK not in name and not QUANTISED.search(name):
            layer_name, _, last = name.rpartition(f".{BASE}.")
            adapted = layers.get(layer_name) if last == "weight" else None
            weights[name.replace(f".{BASE}.", ".")] = PlainWeight(weight, adapted)
    return weights


def _layers(model: torch.nn.Module) -> list[tuple[str, BaseTunerLayer]]:
    if not any(MARK in name for name, _ in model.named_parameters()):
        return []  # do not import peft, which may not be installed
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
