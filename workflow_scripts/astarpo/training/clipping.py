"""The scale on which gradients are clipped and their norm is reported."""

from __future__ import annotations

from astarpo.objectives import gradient_factor
from astarpo.training.settings import TrainSettings


def norm_factor(settings: TrainSettings) -> float:
    """Return the factor by which the norm of the loss's gradient exceeds the norm that is clipped and reported.

    `max_grad_norm` times this factor limits the norm of the loss's gradient. AdamW's step does not depend on the scale
    of all gradients together (up to ``adam_eps``), but clipping changes the weight of a step relative to others.

    Args:
        settings: of the run.

    Returns:
        1 for ``grad_norm_of: loss``; else see `objectives.gradient_factor`.
    """
    if settings.grad_norm_of == "loss":
        return 1.0
    return gradient_factor(settings.method, settings.hyperparameters, settings.sampling.max_new_tokens)
