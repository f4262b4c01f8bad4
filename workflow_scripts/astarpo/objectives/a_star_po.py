"""A*-PO, stage 2: regress beta2 ln(pi / pi_ref) onto the optimal advantage r - V*, or onto r - kappa V*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from astarpo.common.kinds import Positive
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout
from astarpo.objectives.value_scale import VALUE_SCALE_SETTINGS, ValueScaleSettings

if TYPE_CHECKING:
    from torch import Tensor


class AStarPOSettings(ValueScaleSettings):
    """Settings of A*-PO."""

    beta2: Positive = Field(1.0e-3, description="weight of the pull towards the reference")
    value_update: Literal["none", "running"] = Field(
        "none", description="`running`: each online response replaces an average one of stage 1"
    )


def prepare(rollout: Rollout) -> dict[str, Tensor]:
    """Compute the regression targets, without gradient.

    Args:
        rollout: the global batch, with ``v_star_B`` and its scale kappa, which is 1 in the paper.

    Returns:
        ``advantage_B`` = r(x, y) - kappa V*(x), and ``anchor_log_prob_B`` = sum_t ln pi_ref(y_t | .).
    """
    if rollout.v_star_B is None:
        raise ValueError("A*-PO needs V* of every prompt, but the rollout has none")
    return {
        "advantage_B": rollout.reward_B - rollout.value_scale * rollout.v_star_B,
        "anchor_log_prob_B": (rollout.anchor_log_probs_BT * rollout.mask_BT).sum(-1),
    }


def loss(
    log_probs_BT: Tensor,
    mask_BT: Tensor,
    targets: dict[str, Tensor],
    normaliser: float,
    *,
    beta2: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of the implicit advantage, summed over a micro-batch and divided by ``normaliser``.

    L = mean over sequences of ( beta2 ln pi(y|x)/pi_ref(y|x) - (r(x,y) - V*(x)) )^2    (paper, stage 2)

    Args:
        log_probs_BT: log-probabilities of the response tokens under the policy, with gradient.
        mask_BT: True at response tokens, the end token included.
        targets: the micro-batch's rows of `prepare`'s result, and ``importance_B``, the weight of each, if it is not 1.
        normaliser: number of sequences in the whole batch of this optimizer step, so that the sums over
            micro-batches and ranks are the mean over the global batch.
        beta2: weight of the pull towards the reference policy.

    Returns:
        The loss (a scalar), and sums over the micro-batch's sequences for the metrics.
    """
    log_ratio_B = (log_probs_BT * mask_BT).sum(-1) - targets["anchor_log_prob_B"]
    residual_B = beta2 * log_ratio_B - targets["advantage_B"]
    metric_sums = {
        "implicit_advantage": (beta2 * log_ratio_B).detach().sum(),
        "advantage": targets["advantage_B"].sum(),
    }
    squares_B = residual_B.square() * targets.get("importance_B", 1.0)
    return squares_B.sum() / normaliser, metric_sums


def gradient_factor(*, beta2: float) -> float:
    """Return 2 beta2, by which this gradient exceeds the policy gradient.

    With d = ln pi(y|x)/pi_ref(y|x): grad (beta2 d - A)^2 = 2 (beta2 d - A) beta2 grad d = -2 beta2 (A - beta2 d)
    grad ln pi(y|x). So the loss is 2 beta2 times REINFORCE's on the KL-penalised reward (the paper's loss, stage 2;
    its released code clips the norm of this loss).

    Args:
        beta2: weight of the pull towards the reference policy.
    """
    return 2.0 * beta2


METHOD = Method(
    prepare,
    loss,
    needs_v_star=True,
    takes_importance=True,
    responses=(1, 1),
    gradient_factor=gradient_factor,
    loop_settings=("value_update", *VALUE_SCALE_SETTINGS),
)
