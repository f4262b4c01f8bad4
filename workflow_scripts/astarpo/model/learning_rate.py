"""Learning-rate schedules as pure functions of the step, so checkpoints need not store them."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def learning_rate(
    peak: float,
    schedule: str,
    warmup_steps: int,
    steps: int,
    step: int,
    left: float | None = None,
) -> float:
    """Compute the learning rate of a step.

    Args:
        peak: the highest rate.
        schedule: ``constant``, ``linear`` or ``cosine`` (both fall to 0 just after the last step).
        warmup_steps: steps of linear rise from 0.
        steps: total number of steps.
        step: the step, counted from 1.
        left: share of the training that is left, if something other than steps ends it; None: computed from steps.

    Returns:
        The rate of this step.

    Raises:
        ValueError: the schedule is unknown.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    if left is None:
        left = 1.0 - (step - 1 - warmup_steps) / max(steps - warmup_steps, 1)
    factors = {
        "constant": 1.0,
        "linear": left,
        "cosine": 0.5 * (1.0 - math.cos(math.pi * left)),
    }
    if schedule not in factors:
        raise ValueError(f"unknown schedule {schedule!r}; known are {', '.join(factors)}")
    return peak * factors[schedule]


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of every parameter group of a torch optimizer."""
    for group in optimizer.param_groups:
        group["lr"] = lr
