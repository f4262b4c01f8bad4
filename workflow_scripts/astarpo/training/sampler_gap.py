"""The gap between the sampler's and the trainer's log-probabilities, which reveals stale weights and caches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from astarpo.common.errors import InputError

GAPS = ("sampler_gap_mean", "sampler_gap_p95", "sampler_gap_max")


def pad(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    """Pad the sampler's token log-probabilities with 0 to fp32 [B, width]."""
    padded_BT = torch.zeros((len(rows), width))
    for row, values in enumerate(rows):
        padded_BT[row, : len(values)] = torch.tensor(values)
    return padded_BT


def token_gaps(log_probs_BT: Tensor, sampled_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Compute the gap of each response token, |ln p_trainer - ln p_sampler| in nats, [N].

    Args:
        log_probs_BT: the trainer's.
        sampled_BT: the sampler's, of the same tokens under the same weights.
        mask_BT: True at response tokens.
    """
    return (log_probs_BT.detach() - sampled_BT.to(log_probs_BT.device)).abs()[mask_BT.to(log_probs_BT.device)]


def summarise(gaps_N: Sequence[Tensor]) -> dict[str, float]:
    """Return mean, 95th percentile and maximum of all gaps, in nats per token, by the names in `GAPS`."""
    # By rank, without interpolation, because torch.quantile refuses more than 16 million values.
    ordered_N: Tensor = torch.sort(torch.cat(list(gaps_N)).double()).values
    p95 = ordered_N[min(int(0.95 * len(ordered_N)), len(ordered_N) - 1)]
    return dict(zip(GAPS, map(float, (ordered_N.mean(), p95, ordered_N[-1])), strict=True))


def check(gaps: dict[str, float], limit: float | None, step: int) -> None:
    """Stop a training whose sampler does not sample from the trained policy.

    Args:
        gaps: from `summarise`.
        limit: largest accepted mean gap, in nats per token; None: no limit.
        step: for the message; 0 is before training.

    Raises:
        InputError: the mean gap is above the limit, or NaN.
    """
    mean, p95, largest = (gaps[name] for name in GAPS)
    if limit is None or mean <= limit:
        return
    raise InputError(
        f"step {step}: log-probabilities of sampler and trainer differ by {mean:.2g} nats per token (95 %: {p95:.2g}, "
        f"largest: {largest:.2g}), above max_sampler_gap ({limit:g}). The sampler has other weights, another "
        "temperature or a coarser precision: set precision: float32 or sampling_engine: transformers for the "
        "reference, or raise max_sampler_gap if this gap is acceptable"
    )
