"""PPO (arXiv 1707.06347) with a separate critic: KL in the reward, GAE, clipped policy and value losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from astarpo.common.kinds import LearningRate, NotNegative, Positive, Share
from astarpo.common.settings import Section
from astarpo.objectives.loss_terms import clipped_objective, whiten
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout

if TYPE_CHECKING:
    from torch import Tensor


class PPOSettings(Section):
    """Settings of PPO."""

    critic_lr: LearningRate = Field(1.0e-5, description="peak learning rate of the critic")
    clip: Positive = Field(0.2, description="how far the ratio may move from 1")
    value_clip: Positive = Field(0.5, description="how far a value may move in an update; 1e9 disables clipping")
    gamma: Share = Field(1.0, description="discount")
    gae_lambda: Share = Field(1.0, description="lambda of GAE")
    kl_coefficient: NotNegative = Field(1.0e-3, description="weight of the KL penalty in the reward")


def prepare(rollout: Rollout, *, gamma: float, gae_lambda: float, kl_coefficient: float) -> dict[str, Tensor]:
    """Compute advantages and returns, without gradient, on the global batch.

    The reward of a token is -kl_coefficient ln pi_old/pi_ref, plus r(x, y) at the last token.

    Args:
        rollout: the global batch, with ``old_log_probs_BT`` and ``old_values_BT``.
        gamma, gae_lambda: see `generalised_advantages`.
        kl_coefficient: weight of the KL penalty in the reward.

    Returns:
        ``advantage_BT`` (whitened over the batch's tokens), ``return_BT``, ``old_values_BT``,
        ``old_log_probs_BT``, and ``explained_variance_B``, the same number in each row: 1 - Var(return -
        value) / Var(return), or 0 if the returns do not vary.
    """
    if rollout.old_log_probs_BT is None or rollout.old_values_BT is None:
        raise ValueError("PPO needs log-probabilities and values from before the update")
    mask_BT, old_values_BT = rollout.mask_BT, rollout.old_values_BT
    difference_BT = rollout.old_log_probs_BT - rollout.anchor_log_probs_BT
    reward_BT = -kl_coefficient * difference_BT * mask_BT
    last_B1 = mask_BT.sum(-1, keepdim=True) - 1
    reward_BT = reward_BT.scatter_add(1, last_B1, rollout.reward_B[:, None].to(reward_BT.dtype))
    advantage_BT = generalised_advantages(reward_BT, old_values_BT, mask_BT, gamma, gae_lambda)
    return_BT = (advantage_BT + old_values_BT) * mask_BT
    explained = _explained_variance(return_BT[mask_BT], old_values_BT[mask_BT])
    return {
        "advantage_BT": whiten(advantage_BT, mask_BT),
        "return_BT": return_BT,
        "old_values_BT": old_values_BT,
        "old_log_probs_BT": rollout.old_log_probs_BT,
        "explained_variance_B": explained.expand(len(rollout.prompt_ids)),
    }


def generalised_advantages(
    reward_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Compute generalised advantage estimates (arXiv 1506.02438, eq. 16).

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lambda A_{t+1}

    V_t is the value of the state before token t. The value after the last token is 0: truncated responses are graded
    like any other, so there is no bootstrapping.

    Args:
        reward_BT, values_BT: per token; masked tokens are ignored.
        mask_BT: True at response tokens, contiguous from the first.
        gamma, gae_lambda: discount, and GAE's lambda; with both 1, A_t = sum of rewards - V_t.

    Returns:
        [B, T], 0 where masked.
    """
    import torch

    advantage_BT = torch.zeros_like(values_BT)
    next_B, next_value_B = torch.zeros_like(values_BT[:, 0]), torch.zeros_like(values_BT[:, 0])
    for t in reversed(range(values_BT.shape[1])):
        delta_B = reward_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        next_B = (delta_B + gamma * gae_lambda * next_B) * mask_BT[:, t]
        next_value_B = values_BT[:, t] * mask_BT[:, t]
        advantage_BT[:, t] = next_B
    return advantage_BT


def loss(
    log_probs_BT: Tensor,
    mask_BT: Tensor,
    targets: dict[str, Tensor],
    normaliser: float,
    *,
    values_BT: Tensor,
    clip: float,
    value_clip: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped policy loss plus clipped value loss, both means over tokens, with equal weight.

    policy: max( -A rho, -A clip(rho, 1 - clip, 1 + clip) );
    critic: 1/2 max( (V - R)^2, (clip(V, V_old - value_clip, V_old + value_clip) - R)^2 ).
    They share no parameters, and each has its own learning rate.

    Args:
        log_probs_BT: log-probabilities of the response tokens under the policy, with gradient.
        mask_BT: True at response tokens, the end token included.
        targets: the micro-batch's rows of `prepare`'s result.
        normaliser: response tokens in the whole batch of this optimizer step.
        values_BT: the critic's values of the states before the tokens, with gradient.
        clip, value_clip: how far ratio and value may move.

    Returns:
        The loss (a scalar), and sums for the metrics.
    """
    import torch

    policy_BT, clipped_BT = clipped_objective(
        log_probs_BT, targets["old_log_probs_BT"], targets["advantage_BT"], clip, clip
    )
    old_BT, return_BT = targets["old_values_BT"], targets["return_BT"]
    held_BT = torch.min(torch.max(values_BT, old_BT - value_clip), old_BT + value_clip)
    free_BT, held_BT = (values_BT - return_BT).square(), (held_BT - return_BT).square()
    value_BT = 0.5 * torch.max(free_BT, held_BT)
    lengths_B = mask_BT.sum(-1)
    metric_sums = {
        "advantage": ((targets["advantage_BT"] * mask_BT).sum(-1) / lengths_B).sum(),
        "ratio_clip_fraction": (clipped_BT * mask_BT).sum(),
        "value_loss": (value_BT.detach() * mask_BT).sum(),
        "value_clip_fraction": ((held_BT > free_BT) * mask_BT).sum(),
        "explained_variance": targets["explained_variance_B"].sum(),
    }
    return ((policy_BT + value_BT) * mask_BT).sum() / normaliser, metric_sums


def _explained_variance(return_N: Tensor, value_N: Tensor) -> Tensor:
    spread = return_N.var(unbiased=False)
    if not bool(spread > 0):
        return spread.new_zeros(())
    return 1.0 - (return_N - value_N).var(unbiased=False) / spread


METHOD = Method(
    prepare,
    loss,
    needs_old_log_probs=True,
    needs_critic=True,
    normaliser="tokens",
    reference_only_if="kl_coefficient",
    loop_settings=("critic_lr",),
    metrics={
        "ratio_clip_fraction": "tokens",
        "value_loss": "tokens",
        "value_clip_fraction": "tokens",
        "explained_variance": "sequences",
    },
)
