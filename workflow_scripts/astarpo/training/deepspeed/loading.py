"""Models for DeepSpeed: in the precision of its passes, and with ZeRO 3 sharded while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from astarpo.common.machine import MachineSettings
from astarpo.model.lora import inject
from astarpo.model.policy import Policy
from astarpo.model.world import World
from astarpo.objectives import METHODS
from astarpo.training.deepspeed import optimizer
from astarpo.training.deepspeed.engine import DeepSpeedEngine
from astarpo.training.model_setup import recompute_activations
from astarpo.training.settings import TrainSettings


def load_engine(
    load: Callable[[torch.dtype], Policy], settings: TrainSettings, machine: MachineSettings, world: World, seed: int
) -> tuple[DeepSpeedEngine, Policy]:
    """Load the models of a training and build its engine.

    DeepSpeed makes the fp32 master weights from weights that it has rounded to the precision of passes, so models are
    loaded in that precision.

    Args:
        load: reads the reference's folder, with weights of this type.
        settings, machine: of the run.
        world: the processes that train it.
        seed: of the adapters' first matrices.

    Returns:
        The engine, and the policy to sample from, which has the newest weights: whole, or sharded for vLLM, to which
        weights are pushed one after another.
    """
    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    method, sharded = METHODS[settings.method], machine.zero_stage == 3
    with _sharded(settings, machine) if sharded else _unchanged():
        policy = load(dtype)
        reference = load(dtype) if settings.lora is None else policy
        # The body of a sharded model cannot be copied.
        critic_base = load(dtype).model if method.needs_critic and sharded else None
    if sharded:
        for model in filter(None, (policy.model, reference.model, critic_base)):
            restore_buffers(model)
    if settings.lora is not None:
        inject(policy.model, settings.lora, seed)
    if machine.activation_checkpointing:
        recompute_activations(policy.model)
    whole = None
    if sharded and (settings.sampling_engine == "transformers" or method.anchor == "lagged"):
        whole = load(dtype)
        if settings.lora is not None:
            inject(whole.model, settings.lora, seed)
    engine = DeepSpeedEngine(policy, reference, settings, machine, world, whole, critic_base)
    return engine, whole or policy


@contextmanager
def _sharded(settings: TrainSettings, machine: MachineSettings) -> Iterator[None]:
    """Within the block, transformers gives each process only its share of every weight that it reads."""
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    config = HfDeepSpeedConfig(optimizer.deepspeed_config(settings, machine))  # transformers has a weak reference to it
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del config


def restore_buffers(model: PreTrainedModel) -> None:
    """Give a model the buffers that its constructor computes, such as the frequencies of rotary embeddings.

    While DeepSpeed shards a model, it rounds them to the precision of the weights. Files have none of them.
    """
    with init_empty_weights(include_buffers=False), no_init_weights():
        made = type(model)(model.config)
    saved = model.state_dict().keys()
    for name, buffer in made.named_buffers():
        if name not in saved:
            module, _, last = name.rpartition(".")
            setattr(model.get_submodule(module), last, buffer.to(model.device))


@contextmanager
def _unchanged() -> Iterator[None]:
    yield
