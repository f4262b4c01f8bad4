"""AdamW with a run's settings, for policy and critic."""

from __future__ import annotations

from collections.abc import Iterable

import torch

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
