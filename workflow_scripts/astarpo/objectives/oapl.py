"""OAPL (arXiv 2602.19362): A*-PO's regression against the sampling policy, which lags behind by design."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from astarpo.common.kinds import Beta1, Count, Positive
from astarpo.common.settings import Section
from astarpo.objectives import a_star_po
from astarpo.objectives.loss_terms import group_soft_value, group_sums
from astarpo.objectives.method import Method
from astarpo.objectives.rollout import Rollout

if TYPE_CHECKING:
    from torch import Tensor

loss = a_star_po.loss


class OAPLSettings(Section):
    """Settings of OAPL."""

    beta1: Beta1 = Field(1.0, description="temperature of the estimate of V*")
    beta2: Positive = Field(1.0e-3, description="weight of the pull towards the lagged policy")
    sync_every: Count = Field(50, description="steps between synchronisations")


def prepare(rollout: Rollout, *, beta1: float) -> dict[str, Tensor]:
    """Compute the regression targets, without gradient; V* is estimated from the responses to the same prompt.

    Args:
        rollout: the global batch, with at least two responses per prompt, sampled from the policy of the last
            synchronisation, which is also the anchor.
        beta1: temperature of the estimate.

    Returns:
        ``advantage_B`` = r(x, y) - V(x), and ``anchor_log_prob_B`` = sum_t ln pi_lagged(y_t | .).
    """
    _, sizes_B = group_sums(rollout.reward_B, rollout.group_ids_B)
    if bool((sizes_B < 2).any()):
        raise ValueError("OAPL needs at least two responses per prompt")
    v_star_B = group_soft_value(rollout.reward_B, rollout.group_ids_B, beta1)
    return {
        "advantage_B": rollout.reward_B - v_star_B,
        "anchor_log_prob_B": (rollout.anchor_log_probs_BT * rollout.mask_BT).sum(-1),
    }


METHOD = Method(
    prepare,
    loss,
    anchor="lagged",
    responses=(2, None),
    gradient_factor=a_star_po.gradient_factor,  # the same regression, with another anchor
    loop_settings=("sync_every",),
)
