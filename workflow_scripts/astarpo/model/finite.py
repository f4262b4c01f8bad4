"""Numbers that must be finite: gradients before a step, weights before they are saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale gradients down to a norm, in place.

    Args:
        parameters: those that have gradients.
        max_norm: largest norm of all gradients together.

    Returns:
        The norm before.

    Raises:
        FloatingPointError: the norm is not finite; the gradients are then of no use.
    """
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {norm}")
    return norm


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Make sure that all weights are finite.

    Args:
        weights: by name.

    Raises:
        FloatingPointError: some are not; the message names the first tensor and counts its numbers.
    """
    for name, weight in weights.items():
        if not weight.is_floating_point() or weight.numel() == 0:  # counters; and what ZeRO holds in pieces
            continue
        # The largest magnitude is NaN or infinite if any number is, and takes no mask as large as the weights.
        if not torch.isfinite(torch.linalg.vector_norm(weight, ord=torch.inf)):
            wrong = int((~torch.isfinite(weight)).sum())
            raise FloatingPointError(f"{wrong:,} of the {weight.numel():,} numbers of {name} are not finite")
