"""REBEL (arXiv 2404.16767): regress a pair's difference of log-ratios onto its difference of rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from astarpo.common.kinds import Positive
from astarpo.common.settings import Section
from astarpo.objectives.loss_terms import group_sums
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout

if TYPE_CHECKING:
    from torch import Tensor


class REBELSettings(Section):
    """Settings of REBEL."""

    eta: Positive = Field(1.0, description="how strongly rewards move the policy away from the iterate")


def prepare(rollout: Rollout) -> dict[str, Tensor]:
    """Collect the regression's inputs, without gradient.

    Args:
        rollout: the global batch, with exactly two responses per prompt; the anchor is the sampling iterate.

    Returns:
        ``reward_B``, ``group_B``, and, unless there is a single update, ``anchor_log_prob_B`` = sum_t ln pi_t(y_t | .).

    Raises:
        ValueError: a prompt does not have exactly two responses.
    """
    _, sizes_B = group_sums(rollout.reward_B, rollout.group_ids_B)
    if bool((sizes_B != 2).any()):
        raise ValueError("REBEL needs exactly two responses per prompt")
    targets = {"reward_B": rollout.reward_B, "group_B": rollout.group_ids_B}
    if not rollout.old_from_update:
        targets["anchor_log_prob_B"] = (rollout.anchor_log_probs_BT * rollout.mask_BT).sum(-1)
    return targets


def loss(
    log_probs_BT: Tensor,
    mask_BT: Tensor,
    targets: dict[str, Tensor],
    normaliser: float,
    *,
    eta: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error over the pairs of a micro-batch, which must consist of whole pairs.

    L = mean over pairs of ( [ln pi(y)/pi_t(y) - ln pi(y')/pi_t(y')] - eta [r(y) - r(y')] )^2    (REBEL, eq. 1; as in
    its code, log-probabilities are summed over the response)

    With a single update on the rollout pi is pi_t: the log-ratios are 0, and the gradient is that of REINFORCE with the
    other response as baseline, times 4 eta (see `gradient_factor`).

    Args:
        log_probs_BT: log-probabilities of the response tokens under the policy, with gradient.
        mask_BT: True at response tokens, the end token included.
        targets: the micro-batch's rows of `prepare`'s result.
        normaliser: number of sequences, two per pair, in the whole batch of this optimizer step.
        eta: how strongly rewards move the policy away from the iterate; the inverse of a KL coefficient.

    Returns:
        The loss (a scalar), and sums over the micro-batch's sequences for the metrics.
    """
    log_prob_B = (log_probs_BT * mask_BT).sum(-1)
    anchor_B = targets.get("anchor_log_prob_B")
    log_ratio_B = log_prob_B - (log_prob_B.detach() if anchor_B is None else anchor_B)
    by_pair_P2 = targets["group_B"].argsort(stable=True).view(-1, 2)
    ratio_P2, reward_P2 = log_ratio_B[by_pair_P2], targets["reward_B"][by_pair_P2]
    residual_P = ratio_P2[:, 0] - ratio_P2[:, 1] - eta * (reward_P2[:, 0] - reward_P2[:, 1])
    metric_sums = {"pair_reward_gap": 2.0 * (reward_P2[:, 0] - reward_P2[:, 1]).abs().sum()}
    return residual_P.square().sum() / (normaliser / 2.0), metric_sums


def gradient_factor(*, eta: float) -> float:
    """Return 4 eta, by which this gradient exceeds the policy gradient with the other response as baseline.

    A pair with scores s, s' and rewards r, r' contributes grad (d - d' - eta (r - r'))^2 = -2 eta (r - r') (s - s')
    where d = d' = 0. In the policy gradient its two sequences have the advantages r - r' and r' - r (leave-one-out of
    two, RLOO, arXiv 2402.14740), so they contribute (r - r') (s - s'). REBEL takes the mean over pairs, of which there
    are half as many as sequences: 2 eta times 2.

    Args:
        eta: how strongly rewards move the policy away from the iterate.
    """
    return 4.0 * eta


METHOD = Method(
    prepare,
    loss,
    anchor="iterate",
    old_from_update=True,
    pairs=True,
    responses=(2, 2),
    gradient_factor=gradient_factor,
    metrics={"pair_reward_gap": "sequences"},
)
