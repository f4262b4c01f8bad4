"""Checks that gradients are finite before a step, and weights before they are saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Clip the global norm of gradients, in place.

    Args:
        parameters: with gradients.
        max_norm: maximum norm of all gradients together.

    Returns:
        The norm before clipping.

    Raises:
        FloatingPointError: the norm is not finite, so the gradients are unusable.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {norm}")
    return norm


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Check that all weights are finite.

    Args:
        weights: by name.

    Raises:
        FloatingPointError: some are not; the message names the first such tensor and counts its non-finite numbers.
    """
    for name, weight in weights.items():
        if not weight.is_floating_point() or weight.numel() == 0:  # counters, and weights sharded by ZeRO
            continue
        # The largest magnitude is not finite if any number is not, and needs no mask as large as the weights.
        if not torch.isfinite(torch.linalg.vector_norm(weight, ord=torch.inf)):
            wrong = int((~torch.isfinite(weight)).sum())
            raise FloatingPointError(f"{wrong:,} of the {weight.numel():,} numbers of {name} are not finite")
