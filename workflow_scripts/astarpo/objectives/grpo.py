"""GRPO (arXiv 2402.03300): the group's mean as baseline, a clipped ratio, a KL term; flags for Dr. GRPO and DAPO.

Of DAPO's four parts (arXiv 2503.14476) these are two, ``clip_high`` and the mean over tokens; dynamic sampling and the
penalty of overlong responses are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from astarpo.common.kinds import NotNegative, Positive
from astarpo.common.settings import Section
from astarpo.objectives.loss_terms import clipped_objective, group_mean_and_std, k3, old_log_probs
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout

if TYPE_CHECKING:
    from torch import Tensor


class GRPOSettings(Section):
    """Settings of GRPO."""

    clip: Positive = Field(0.2, description="how far the ratio may fall below 1")
    clip_high: Positive = Field(0.2, description="how far the ratio may rise above 1; DAPO: 0.28")
    kl_coefficient: NotNegative = Field(1.0e-3, description="weight of the KL term (k3)")
    scale_by_std: bool = Field(True, description="divide advantages by the group's standard deviation; Dr. GRPO: false")
    std_epsilon: NotNegative = Field(
        1.0e-6, description="added to the standard deviation; at least 1e-30 with `scale_by_std`"
    )
    average: Literal["sequences", "tokens", "constant"] = Field(
        "sequences",
        description="`sequences`: mean over tokens, then over sequences; DAPO: `tokens`; Dr. GRPO: `constant`, which "
        "divides by max_new_tokens",
    )


def prepare(rollout: Rollout, *, scale_by_std: bool, std_epsilon: float) -> dict[str, Tensor]:
    """Compute the advantages, without gradient, on whole groups, before sharding.

    A_i = (r_i - mean) / (std + std_epsilon), over the responses to the same prompt; 0 if all rewards are equal.

    Args:
        rollout: the global batch, with at least two responses per prompt, and with ``old_log_probs_BT`` unless there
            is a single update.
        scale_by_std: whether to divide; Dr. GRPO does not.
        std_epsilon: added to the (unbiased) standard deviation.

    Returns:
        ``advantage_B``, the reference's ``anchor_log_probs_BT``, and ``old_log_probs_BT`` if given.
    """
    if rollout.old_log_probs_BT is None and not rollout.old_from_update:
        raise ValueError("GRPO needs the log-probabilities of the policy that sampled")
    mean_B, std_B = group_mean_and_std(rollout.reward_B, rollout.group_ids_B)
    advantage_B = rollout.reward_B - mean_B
    targets = {
        "advantage_B": advantage_B / (std_B + std_epsilon) if scale_by_std else advantage_B,
        "anchor_log_probs_BT": rollout.anchor_log_probs_BT,
    }
    if rollout.old_log_probs_BT is not None:
        targets["old_log_probs_BT"] = rollout.old_log_probs_BT
    return targets


def loss(
    log_probs_BT: Tensor,
    mask_BT: Tensor,
    targets: dict[str, Tensor],
    normaliser: float,
    *,
    clip: float,
    clip_high: float,
    kl_coefficient: float,
    average: str,
    max_new_tokens: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate with a k3 estimate of KL(pi || pi_ref), averaged as ``average`` says.

    token loss = max( -A rho, -A clip(rho, 1 - clip, 1 + clip_high) ) + kl_coefficient k3

    With a single update on the rollout rho is 1, so nothing is clipped, and the gradient is that of REINFORCE.

    Args:
        log_probs_BT: log-probabilities of the response tokens under the policy, with gradient.
        mask_BT: True at response tokens, the end token included.
        targets: the micro-batch's rows of `prepare`'s result.
        normaliser: sequences in the whole batch of this optimizer step; response tokens if ``average`` is ``tokens``.
        clip, clip_high: how far the ratio may fall below and rise above 1 (DAPO raises the latter).
        kl_coefficient: weight of the KL term.
        average: ``sequences``: mean over sequences of the mean over tokens (GRPO); ``tokens``: mean over all tokens
            (DAPO, arXiv 2503.14476); ``constant``: sum over tokens divided by sequences times ``max_new_tokens``
            (Dr. GRPO, arXiv 2503.20783).
        max_new_tokens: maximum response length.

    Returns:
        The loss (a scalar), and sums for the metrics.
    """
    loss_BT, clipped_BT = clipped_objective(
        log_probs_BT, old_log_probs(log_probs_BT, targets), targets["advantage_B"][:, None], clip, clip_high
    )
    if kl_coefficient:
        loss_BT = loss_BT + kl_coefficient * k3(log_probs_BT, targets["anchor_log_probs_BT"])
    sums_B = (loss_BT * mask_BT).sum(-1)
    if average == "sequences":
        sums_B = sums_B / mask_BT.sum(-1)
    elif average == "constant":
        sums_B = sums_B / max_new_tokens
    metric_sums = {
        "advantage": targets["advantage_B"].sum(),
        "ratio_clip_fraction": (clipped_BT * mask_BT).sum(),
    }
    return sums_B.sum() / normaliser, metric_sums


def gradient_factor(*, average: str, max_new_tokens: int) -> float:
    """Return 1 / max_new_tokens for Dr. GRPO's average, by which its gradient is below the policy gradient; else 1.

    At ratio 1 a token's gradient is -A grad ln pi(y_t | .), as grad rho = rho grad ln pi. Dr. GRPO divides their sum by
    sequences times max_new_tokens (arXiv 2503.20783, eq. 3). The two others divide by lengths that differ between
    responses and batches, so there is no constant; see `objectives.gradient_factor`.

    Args:
        average: as in `loss`.
        max_new_tokens: maximum response length.
    """
    return 1.0 / max_new_tokens if average == "constant" else 1.0


METHOD = Method(
    prepare,
    loss,
    gradient_factor=gradient_factor,
    needs_old_log_probs=True,
    old_from_update=True,
    responses=(2, None),
    reference_only_if="kl_coefficient",
    metrics={"ratio_clip_fraction": "tokens"},
)
