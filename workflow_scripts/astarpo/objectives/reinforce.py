"""REINFORCE with a choice of baselines: controls for the effect of V* and of the squared loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from astarpo.common.kinds import BelowOne, NotNegative, Share
from astarpo.objectives.loss_terms import leave_one_out_mean
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout
from astarpo.objectives.value_scale import VALUE_SCALE_SETTINGS, ValueScaleSettings

if TYPE_CHECKING:
    from torch import Tensor


class ReinforceSettings(ValueScaleSettings):
    """Settings of REINFORCE."""

    baseline: Literal["v_star", "zero", "constant", "batch_mean", "running_mean", "leave_one_out"] = Field(
        description="baseline subtracted from the reward"
    )
    constant: Share = Field(0.0, description="the baseline `constant`; the forecast names the best one")
    beta2: NotNegative = Field(1.0e-3, description="weight of the pull towards the reference")
    kl_in_reward: bool = Field(True, description="false: no pull towards the reference")
    baseline_decay: BelowOne = Field(0.9, description="share of a `running_mean` kept at each step")


def prepare(rollout: Rollout, *, baseline: str, constant: float = 0.0) -> dict[str, Tensor]:
    """Compute r - b, without gradient.

    Args:
        rollout: the global batch.
        baseline: b is ``v_star`` (of stage 1, times its scale), ``zero``, ``constant``, ``batch_mean`` (of this
            batch's rewards), ``running_mean`` (of earlier rollouts) or ``leave_one_out`` (of the other responses to the
            prompt).
        constant: b of ``constant``.

    Returns:
        ``advantage_B`` and ``anchor_log_prob_B`` = sum_t ln pi_ref(y_t | .).
    """
    return {
        "advantage_B": rollout.reward_B - _baseline(rollout, baseline, constant),
        "anchor_log_prob_B": (rollout.anchor_log_probs_BT * rollout.mask_BT).sum(-1),
    }


def _baseline(rollout: Rollout, baseline: str, constant: float) -> Tensor | float:
    if baseline == "v_star":
        if rollout.v_star_B is None:
            raise ValueError("the baseline is V*, but the rollout has no V*")
        return rollout.value_scale * rollout.v_star_B
    if baseline == "leave_one_out":
        return leave_one_out_mean(rollout.reward_B, rollout.group_ids_B)
    if baseline == "batch_mean":
        return rollout.reward_B.mean()
    return {"zero": 0.0, "constant": constant, "running_mean": rollout.running_mean}[baseline]


def loss(
    log_probs_BT: Tensor,
    mask_BT: Tensor,
    targets: dict[str, Tensor],
    normaliser: float,
    *,
    beta2: float,
    kl_in_reward: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Policy gradient of the KL-penalised reward.

    L = - mean over sequences of (r - beta2 d - b) ln pi(y|x), the bracket without gradient,
    d = ln pi(y|x)/pi_ref(y|x)

    Its gradient is that of A*-PO divided by 2 beta2, because grad (beta2 d - (r - b))^2 =
    -2 beta2 (r - beta2 d - b) grad ln pi.

    Args:
        log_probs_BT: log-probabilities of the response tokens under the policy, with gradient.
        mask_BT: True at response tokens, the end token included.
        targets: the micro-batch's rows of `prepare`'s result, and ``importance_B``, the weight of each, if it is not 1.
        normaliser: number of sequences in the whole batch of this optimizer step.
        beta2: weight of the pull towards the reference policy.
        kl_in_reward: False omits d.

    Returns:
        The loss (a scalar), and sums over the micro-batch's sequences for the metrics.
    """
    log_prob_B = (log_probs_BT * mask_BT).sum(-1)
    weight_B = targets["advantage_B"]
    if kl_in_reward:
        weight_B = weight_B - beta2 * (log_prob_B.detach() - targets["anchor_log_prob_B"])
    weight_B = weight_B * targets.get("importance_B", 1.0)
    metric_sums = {"advantage": targets["advantage_B"].sum()}
    return -(weight_B * log_prob_B).sum() / normaliser, metric_sums


METHOD = Method(
    prepare,
    loss,
    takes_importance=True,
    reference_only_if="kl_in_reward",
    loop_settings=("baseline_decay", *VALUE_SCALE_SETTINGS),
)
