"""Building blocks of several methods: group and masked statistics, the clipped ratio, KL estimates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def importance_weights(log_probs_BT: Tensor, sampled_BT: Tensor, mask_BT: Tensor, cap: float) -> Tensor:
    """Compute truncated importance weights of responses that an older policy drew, without gradient.

    w = min(cap, pi(y|x) / mu(y|x)), mu being the policy that drew (truncated importance sampling; Ionides 2008).

    Args:
        log_probs_BT: of the response tokens under the policy that learns.
        sampled_BT: under the policy that drew.
        mask_BT: True at response tokens.
        cap: largest weight.

    Returns:
        ``weights_B``.
    """
    log_ratio_B = ((log_probs_BT.detach() - sampled_BT) * mask_BT).sum(-1)
    return log_ratio_B.clamp(max=math.log(cap)).exp()


def group_sums(values_B: Tensor, group_ids_B: Tensor) -> tuple[Tensor, Tensor]:
    """Sum values over each row's group.

    Args:
        values_B: one number per response.
        group_ids_B: any integers; equal ones form a group.

    Returns:
        ``sums_B``, the sum over the row's group, and ``sizes_B``, its number of rows.
    """
    import torch

    groups_G, group_B = torch.unique(group_ids_B, return_inverse=True)
    zeros_G = values_B.new_zeros(len(groups_G))
    sums_G = zeros_G.index_add(0, group_B, values_B)
    sizes_G = zeros_G.index_add(0, group_B, torch.ones_like(values_B))
    return sums_G[group_B], sizes_G[group_B]


def group_mean_and_std(values_B: Tensor, group_ids_B: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and unbiased standard deviation (divisor n - 1) of each row's group.

    Raises:
        ValueError: a group has a single row, whose standard deviation is undefined.
    """
    sums_B, sizes_B = group_sums(values_B, group_ids_B)
    if bool((sizes_B < 2).any()):
        raise ValueError("a group has only one response, so its standard deviation is undefined")
    mean_B = sums_B / sizes_B
    squares_B, _ = group_sums((values_B - mean_B).square(), group_ids_B)
    return mean_B, (squares_B / (sizes_B - 1)).sqrt()


def leave_one_out_mean(values_B: Tensor, group_ids_B: Tensor) -> Tensor:
    """Compute the mean of the other rows of each row's group, [B].

    Raises:
        ValueError: a group has a single row.
    """
    sums_B, sizes_B = group_sums(values_B, group_ids_B)
    if bool((sizes_B < 2).any()):
        raise ValueError("a group has only one response, so there are no others to average")
    return (sums_B - values_B) / (sizes_B - 1)


def group_soft_value(rewards_B: Tensor, group_ids_B: Tensor, beta1: float) -> Tensor:
    """Estimate V* of each row's prompt from its group, with rewards in {0, 1}.

    V = beta1 ln( (1/n) sum_i exp(r_i / beta1) )    (A*-PO, stage 1), with p the group's pass rate:
    beta1 ln(1 - p + p e^{1/beta1}), by log-sum-exp if e^{1/beta1} may overflow, from e^{1/beta1} - 1 if not.

    Returns:
        [B] in [0, 1]; 0 if no response of the group is correct, 1 if all are.
    """
    import torch

    sums_B, sizes_B = group_sums(rewards_B, group_ids_B)
    p_B = (sums_B / sizes_B).double()
    if beta1 > 1:
        soft_B = beta1 * torch.log1p(p_B * math.expm1(1.0 / beta1))
    else:
        soft_B = beta1 * torch.logaddexp(torch.log1p(-p_B), p_B.log() + 1.0 / beta1)
    return soft_B.to(rewards_B.dtype)


def whiten(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Shift and scale to mean 0 and unbiased variance 1 over the unmasked tokens; 0 where masked.

    A single token has no variance, and is left unchanged.
    """
    import torch

    known_N = values_BT[mask_BT]
    if known_N.numel() < 2:
        return values_BT * mask_BT
    scaled_N = (known_N - known_N.mean()) / (known_N.var() + 1e-8).sqrt()
    return torch.zeros_like(values_BT).masked_scatter(mask_BT, scaled_N)


def old_log_probs(log_probs_BT: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return the iterate's log-probabilities: those of the targets, or of this pass, without gradient.

    Args:
        log_probs_BT: under the policy, with gradient.
        targets: without ``old_log_probs_BT`` if this is the only update on its rollout: the policy is then the iterate.
    """
    known_BT = targets.get("old_log_probs_BT")
    return log_probs_BT.detach() if known_BT is None else known_BT


def clipped_objective(
    log_probs_BT: Tensor,
    old_log_probs_BT: Tensor,
    advantage_BT: Tensor,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Tensor]:
    """Compute the token losses of the clipped surrogate.

    max( -A rho, -A clip(rho, 1 - clip_low, 1 + clip_high) ) with rho = pi / pi_old    (PPO, arXiv 1707.06347, eq. 7)

    Args:
        log_probs_BT: under the policy, with gradient.
        old_log_probs_BT: under the policy before the first update on this batch.
        advantage_BT: or [B, 1].
        clip_low, clip_high: how far the ratio may fall below and rise above 1.

    Returns:
        ``loss_BT``, and ``clipped_BT``: 1.0 where the clipped term is larger, so that the token has no gradient.
    """
    import torch

    ratio_BT = (log_probs_BT - old_log_probs_BT).exp()
    free_BT = -advantage_BT * ratio_BT
    held_BT = -advantage_BT * ratio_BT.clamp(1.0 - clip_low, 1.0 + clip_high)
    return torch.max(free_BT, held_BT), (held_BT > free_BT).to(log_probs_BT.dtype)


def k3(log_probs_BT: Tensor, anchor_log_probs_BT: Tensor) -> Tensor:
    """Estimate KL(pi || anchor) per token: q/p - ln(q/p) - 1 >= 0 with p = pi, q = the anchor, token ~ pi.

    Unbiased and never negative; its gradient is that of the estimate, not of the KL (Schulman, "Approximating
    KL divergence"). ``expm1`` keeps it non-negative if p and q are nearly equal: exp(x) - 1 would round below x.
    """
    difference_BT = anchor_log_probs_BT - log_probs_BT
    return difference_BT.expm1() - difference_BT
