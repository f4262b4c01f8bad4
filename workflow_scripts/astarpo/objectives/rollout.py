"""What every method is given: one rollout batch, as tensors, before anything is sharded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """Responses of one global batch with all that is known about them; rows with a null grade are left out.

    Attributes:
        prompt_ids: B stable ids.
        group_ids_B: which responses belong to the same prompt of this batch.
        mask_BT: True at response tokens, the end token included.
        old_log_probs_BT: log-probabilities under the policy as it is before the first update on this batch;
            None where the method does not ask.
        anchor_log_probs_BT: log-probabilities under the anchor (the reference policy for A*-PO).
        v_star_B: estimated optimal values; None where the method uses none.
        reward_B: 1.0 or 0.0.
        old_values_BT: the critic's values before the first update on this batch; None without a critic.
        running_mean: mean reward of the rollouts before this one, 0 before the first.
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
