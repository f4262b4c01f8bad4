"""Checks that gradients are finite before a step, and weights before they are saved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

import torch
from torch import Tensor


class FiniteLogProbs:
    """Whether the log-probabilities of several passes are finite, as a number for each pass on its device.

    They are read together: the host waits for a GPU to read a number, and the GPU then for the host.
    """

    def __init__(self) -> None:
        self.flags: list[Tensor] = []

    def add(self, log_probs_N: Tensor) -> None:
        """Note whether all of a pass's log-probabilities are finite."""
        self.flags.append(torch.isfinite(log_probs_N).all())

    def take(self) -> list[Tensor]:
        """Return a number for each pass since the last check, 0 if one of its log-probabilities is not finite."""
        flags, self.flags = self.flags, []
        return flags

    def check(self) -> None:
        """Check the passes since the last check.

        Raises:
            FloatingPointError: a log-probability is not finite.
        """
        flags = self.take()
        if flags and not bool(torch.stack(flags).all()):
            _refuse_log_probs()


def _refuse_log_probs() -> NoReturn:
    raise FloatingPointError("a response token has a log-probability that is not finite")


def clip_gradients(parameters: Iterable[Tensor], max_norm: float, passes: FiniteLogProbs | None = None) -> float:
    """Clip the global norm of gradients, in place.

    Args:
        parameters: with gradients.
        max_norm: maximum norm of all gradients together.
        passes: of which the gradients are; their log-probabilities are checked as well.

    Returns:
        The norm before clipping.

    Raises:
        FloatingPointError: the norm or a log-probability is not finite, so the gradients are unusable.
    """
    norm_of_all = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    flags = [flag.to(norm_of_all) for flag in passes.take()] if passes is not None else []
    norm, *finite = torch.stack([norm_of_all, *flags]).tolist()
    if not all(finite):
        _refuse_log_probs()
    if not math.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {norm}")
    return float(norm)


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
