"""AdamW and its learning rate with a run's settings, for policy and critic."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from astarpo.model.learning_rate import learning_rate
from astarpo.training.settings import TrainSettings


def adamw(
    parameters: Iterable[torch.nn.Parameter], lr: float, settings: TrainSettings, device: torch.device
) -> torch.optim.AdamW:
    """Build the optimizer of a model.

    Args:
        parameters: the trained parameters.
        lr: the peak learning rate.
        settings: betas, epsilon and weight decay.
        device: of the parameters; on a GPU, one fused kernel updates all of them.
    """
    return torch.optim.AdamW(
        parameters,
        lr=lr,
        betas=settings.adam_betas,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda" or None,
    )


def learning_rate_of(settings: TrainSettings, peak: float, update: int, left: float | None) -> float:
    """Return the learning rate of an update.

    Args:
        settings: schedule, warm-up and number of updates.
        peak: of the policy or the critic.
        update: number of optimizer steps so far.
        left: share of the training that is left, see `learning_rate.learning_rate`.
    """
    return learning_rate(
        peak,
        settings.lr_schedule,
        settings.lr_warmup_steps,
        settings.steps * settings.updates_per_rollout,
        update + 1,
        left,
    )
