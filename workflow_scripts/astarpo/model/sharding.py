"""Weights that DeepSpeed has sharded (ZeRO 3): whole within a block, or during the passes of their modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


def is_sharded(weight: Tensor) -> bool:
    """Whether this process has only a share of a weight."""
    return hasattr(weight, "ds_id")


def shape_of(weight: Tensor) -> torch.Size:
    """Shape of the whole weight."""
    return getattr(weight, "ds_shape", weight.shape)


@contextmanager
def whole(weights: Iterable[Tensor | None]) -> Iterator[None]:
    """Within the block, the weights are whole; a collective call if one of them is sharded.

    A tensor that shares a whole weight's memory stays valid after the block.

    Args:
        weights: parameters, sharded or not; not to be changed.
    """
    sharded = [weight for weight in weights if weight is not None and is_sharded(weight)]
    if not sharded:
        yield
        return
    # Whoever sharded them has imported it; environments without DeepSpeed never come here.
    deepspeed = sys.modules["deepspeed"]
    with deepspeed.zero.GatheredParameters(sharded):
        yield


@contextmanager
def whole_during_passes(model: torch.nn.Module) -> Iterator[None]:
    """Within the block, each module of a sharded model gathers its own weights for its own pass.

    For passes before DeepSpeed's engine, which does the same, has been made.
    """
    gathered: dict[torch.nn.Module, ExitStack] = {}

    def before(module: torch.nn.Module, _: object) -> None:
        gathered[module] = ExitStack()
        gathered[module].enter_context(whole(module.parameters(recurse=False)))

    def after(module: torch.nn.Module, _: object, __: object) -> None:
        gathered.pop(module).close()

    own = [module for module in model.modules() if any(map(is_sharded, module.parameters(recurse=False)))]
    with ExitStack() as hooks:
        for module in own:
            hooks.enter_context(_removed(module.register_forward_pre_hook(before)))
            hooks.enter_context(_removed(module.register_forward_hook(after)))
        yield


@contextmanager
def _removed(hook: torch.utils.hooks.RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        hook.remove()
