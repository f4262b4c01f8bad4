"""The precision of forward passes, shared by reference, policy and sampler."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: str, precision: str) -> AbstractContextManager[None]:
    """Return a context in which models compute in ``precision``; weights stay in fp32.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``bfloat16``.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, dtype=getattr(torch, precision))
