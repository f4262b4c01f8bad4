"""The gap between the sampler's and the trainer's log-probabilities, which reveals stale weights and caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from astarpo.common.errors import InputError

GAPS = ("sampler_gap_mean", "sampler_gap_p95", "sampler_gap_max", "sampler_gap_signed_mean")
MULTIPLE = 3.0  # of the first rollout's gaps
FLOOR = 0.01  # nats per token, because a policy that is certain at first has hardly any rounding errors


def pad(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    """Pad the sampler's token log-probabilities with 0 to fp32 [B, width]."""
    padded_BT = torch.zeros((len(rows), width))
    for row, values in enumerate(rows):
        padded_BT[row, : len(values)] = torch.tensor(values)
    return padded_BT


def token_gaps(log_probs_BT: Tensor, sampled_BT: Tensor, tokens: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Compute the signed gap of each response token, ln p_trainer - ln p_sampler in nats, [N].

    Args:
        log_probs_BT: the trainer's.
        sampled_BT: the sampler's, of the same tokens under the same weights.
        tokens: the response tokens: a mask [B, T], or their rows and columns, with which a GPU need not be waited for.
    """
    return (log_probs_BT.detach() - sampled_BT.to(log_probs_BT.device))[tokens]


def summarise(gaps_N: Sequence[Tensor]) -> dict[str, float]:
    """Summarise all gaps, in nats per token, by the names in `GAPS`.

    Args:
        gaps_N: from `token_gaps`.

    Returns:
        Mean, 95th percentile and maximum of their absolute values, and their mean, which is -KL(sampler || trainer)
        in expectation: near 0 if rounding is the only difference.
    """
    all_N = torch.cat(list(gaps_N)).double()
    # By rank, without interpolation, because torch.quantile refuses more than 16 million values.
    ordered_N: Tensor = torch.sort(all_N.abs()).values
    p95 = ordered_N[min(int(0.95 * len(ordered_N)), len(ordered_N) - 1)]
    return dict(zip(GAPS, torch.stack((ordered_N.mean(), p95, ordered_N[-1], all_N.mean())).tolist(), strict=True))


def check(
    gaps: Mapping[str, float], limit: float | None, step: int, first: Mapping[str, float | None] | None = None
) -> None:
    """Stop a training whose sampler does not sample from the trained policy.

    Args:
        gaps: from `summarise`.
        limit: largest accepted mean gap, in nats per token; None: none is too large.
        step: for the message; 0 is before training.
        first: the gaps of the first rollout, drawn with the trainer's weights: the size of rounding errors. None for
            the first rollout itself.

    Raises:
        InputError: the mean gap is above the limit; or a gap exceeds the first rollout's, see `limits_after`; or one is
            NaN.
    """
    if limit is None:
        return
    if not gaps["sampler_gap_mean"] <= limit:
        raise InputError(_explained(gaps, step, f"above max_sampler_gap ({limit:g})", "raise it"))
    for name, largest in limits_after(first).items() if first is not None else ():
        if not abs(gaps[name]) <= largest:
            reason = f"and {name} is above {largest:.2g}, far more than the first rollout's rounding errors"
            raise InputError(_explained(gaps, step, reason, "set max_sampler_gap: null"))


def limits_after(first: Mapping[str, float | None]) -> dict[str, float]:
    """Return the largest accepted absolute values of later gaps, in nats per token, by name.

    Each is `MULTIPLE` times the first rollout's, plus `FLOOR`. Because a signed mean may be 0 by chance, half the mean
    gap is added to its limit.

    Args:
        first: the gaps of the first rollout.
    """
    scales = {name: abs(first[name] or 0.0) for name in GAPS}
    limits = {name: MULTIPLE * scales[name] + FLOOR for name in GAPS if name != "sampler_gap_max"}
    limits["sampler_gap_signed_mean"] += 0.5 * scales["sampler_gap_mean"]
    return limits


def _explained(gaps: Mapping[str, float], step: int, reason: str, way_out: str) -> str:
    mean, p95, largest, signed = (gaps[name] for name in GAPS)
    return (
        f"step {step}: log-probabilities of sampler and trainer differ by {mean:.2g} nats per token (95 %: {p95:.2g}, "
        f"largest: {largest:.2g}, signed mean: {signed:.2g}), {reason}. The sampler has other weights, another "
        "temperature or a coarser precision: set precision: float32 or sampling_engine: transformers for the "
        f"reference, or {way_out} if this gap is acceptable"
    )
