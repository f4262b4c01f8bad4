"""The input of every method: one rollout batch as tensors, before sharding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """Responses of one global batch with their scores; rows with a null grade are left out.

    Attributes:
        prompt_ids: B stable ids.
        group_ids_B: equal for responses to the same prompt.
        mask_BT: True at response tokens, the end token included.
        old_log_probs_BT: log-probabilities under the policy before the first update on this batch; None if the
            method does not need them, or takes them from its only update.
        anchor_log_probs_BT: log-probabilities under the anchor (the reference policy for A*-PO); NaN if the anchor is
            the iterate and ``old_from_update``.
        v_star_B: estimated optimal values; None if the method uses none.
        reward_B: 1.0 or 0.0.
        old_values_BT: the critic's values before the first update on this batch; None without a critic.
        running_mean: mean reward of earlier rollouts, 0 before the first.
        value_scale: kappa, by which V* is multiplied, see `value_scale`; 1 in the paper.
        old_from_update: the only update's own pass gives the iterate's log-probabilities, see `takes_old_from_update`.
    """

    prompt_ids: list[str]
    group_ids_B: Tensor
    mask_BT: Tensor
    old_log_probs_BT: Tensor | None
    anchor_log_probs_BT: Tensor
    v_star_B: Tensor | None
    reward_B: Tensor
    old_values_BT: Tensor | None = None
    running_mean: float = 0.0
    value_scale: float = 1.0
    old_from_update: bool = False
