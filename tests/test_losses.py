"""Losses and targets by hand where a setting or a row could be taken for another, and what methods ask of the loop."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from astarpo.objectives import (
    build_loss,
    grpo,
    normaliser_of,
    oapl,
    ppo,
    rebel,
    responses_allowed,
    uses_reference,
    uses_v_star,
)
from astarpo.objectives.rollout import Rollout

GRPO = {"clip": 0.1, "clip_high": 0.3, "kl_coefficient": 0.1, "average": "sequences"}


def rollout(rewards: list[float], groups: list[int], **more: Any) -> Rollout:
    """A batch of responses of as many tokens as ``anchor_log_probs_BT`` has, none of them masked."""
    anchor_BT = more["anchor_log_probs_BT"]
    fields: dict[str, Any] = {
        "prompt_ids": [f"p{group}" for group in groups],
        "group_ids_B": torch.tensor(groups),
        "mask_BT": torch.ones(anchor_BT.shape, dtype=torch.bool),
        "old_log_probs_BT": None,
        "v_star_B": None,
        "reward_B": torch.tensor(rewards),
        **more,
    }
    return Rollout(**fields)


def test_grpo_clips_low_and_high_apart():
    """A = 1 at ratio 1.5 is held at 1.3; A = -1 at ratio 0.5 is held at 0.9."""
    zero, mask = torch.zeros(2, 1), torch.ones(2, 1, dtype=torch.bool)
    log_probs = torch.tensor([[1.5], [0.5]]).log()
    targets = {"advantage_B": torch.tensor([1.0, -1.0]), "old_log_probs_BT": zero}
    found, sums = grpo.loss(log_probs, mask, targets, 2, max_new_tokens=4, **{**GRPO, "kl_coefficient": 0.0})
    assert found.item() == pytest.approx((-1.3 + 0.9) / 2)
    assert sums["ratio_clip_fraction"] == 2


def test_grpo_holds_to_the_reference_and_not_to_the_policy_that_sampled():
    """Policy and old policy 1/2, reference 1/4, no advantage: k3 = 1/2 + ln 2 - 1."""
    half, quarter = (torch.full((2, 1), share).log() for share in (0.5, 0.25))
    batch = rollout([1.0, 1.0], [0, 0], anchor_log_probs_BT=quarter, old_log_probs_BT=half)
    targets = grpo.prepare(batch, scale_by_std=False, std_epsilon=0.0)
    found, _ = grpo.loss(half, batch.mask_BT, targets, 2, max_new_tokens=4, **GRPO)
    assert found.item() == pytest.approx(0.1 * (0.5 + math.log(2) - 1))


def test_dr_grpo_divides_by_the_longest_possible_response():
    """Advantage 1, ratio 1: two tokens of -1 each, over max_new_tokens 8."""
    zero, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    targets = {"advantage_B": torch.ones(1), "old_log_probs_BT": zero}
    settings = {**GRPO, "kl_coefficient": 0.0, "average": "constant"}
    found, _ = build_loss("grpo", settings, max_new_tokens=8)(zero, mask, targets, 1)
    assert found.item() == pytest.approx(-2 / 8)


def ppo_targets() -> dict[str, Any]:
    """Rewards 1 and 0 at the end; values 0.2, 0.3 and 0.1, 0.4; policy, old policy and reference alike."""
    zero = torch.zeros(2, 2)
    values = torch.tensor([[0.2, 0.3], [0.1, 0.4]])
    batch = rollout([1.0, 0.0], [0, 1], anchor_log_probs_BT=zero, old_log_probs_BT=zero, old_values_BT=values)
    return ppo.prepare(batch, gamma=1.0, gae_lambda=1.0, kl_coefficient=0.1)


def test_ppo_returns_are_rewards_to_come_and_advantages_are_whitened():
    found = ppo_targets()
    returns = found["return_BT"].flatten().tolist()
    assert returns == pytest.approx([1.0, 1.0, 0.0, 0.0], abs=1e-6)
    # Return minus value is 0.8, 0.7, -0.1, -0.4: mean 0.25, sum of squares about it 1.05.
    deviation = (1.05 / 3) ** 0.5
    expected = [0.55 / deviation, 0.45 / deviation, -0.35 / deviation, -0.65 / deviation]
    assert found["advantage_BT"].flatten().tolist() == pytest.approx(expected, rel=1e-5)
    # 1 - Var(return - value) / Var(return) = 1 - (1.05 / 4) / (1 / 4), for each row.
    assert found["explained_variance_B"].tolist() == pytest.approx([-0.05, -0.05], abs=1e-6)


def test_ppo_trains_policy_and_critic():
    """Ratio 1 and advantage 2, value 0 and return 1: -2 + 1/2, and a gradient for both."""
    zero = torch.zeros(1, 1)
    targets = {
        "advantage_BT": torch.full((1, 1), 2.0),
        "return_BT": torch.ones(1, 1),
        "old_values_BT": zero,
        "old_log_probs_BT": zero,
        "explained_variance_B": torch.zeros(1),
    }
    log_probs, values = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    found, _ = ppo.loss(log_probs, mask, targets, 1, values_BT=values, clip=0.2, value_clip=0.5)
    found.backward()
    assert found.item() == pytest.approx(-1.5)
    assert (log_probs.grad.item(), values.grad.item()) == pytest.approx((-2.0, -1.0))


def test_rebel_pairs_the_responses_to_one_prompt_and_anchors_each():
    """(0.6 - 2 x 1)^2 and (-0.4 + 2 x 1)^2, two pairs whose rows alternate."""
    anchor = torch.tensor([[-1.0], [-2.0], [-1.5], [-0.5]])
    batch = rollout([1.0, 0.0, 0.0, 1.0], [4, 5, 4, 5], anchor_log_probs_BT=anchor)
    log_probs = anchor + torch.tensor([[0.4], [-0.1], [-0.2], [0.3]])
    found, sums = rebel.loss(log_probs, batch.mask_BT, rebel.prepare(batch), 4, eta=2.0)
    assert found.item() == pytest.approx((1.96 + 2.56) / 2)
    assert sums["pair_reward_gap"].item() == 4.0


def test_oapl_refuses_a_group_of_one():
    batch = rollout([1.0, 0.0, 1.0], [4, 4, 5], anchor_log_probs_BT=torch.zeros(3, 1))
    with pytest.raises(ValueError, match="at least two responses"):
        oapl.prepare(batch, beta1=0.5)


def test_what_a_method_asks_for_depends_on_its_settings():
    assert normaliser_of("grpo", {"average": "tokens"}) == "tokens" == normaliser_of("ppo", {})
    assert normaliser_of("grpo", {"average": "sequences"}) == "sequences"
    assert uses_v_star("a_star_po", {}) and uses_v_star("reinforce", {"baseline": "v_star"})
    assert not uses_v_star("reinforce", {"baseline": "zero"})
    assert uses_reference("grpo", {"kl_coefficient": 0.1})
    assert not uses_reference("grpo", {"kl_coefficient": 0.0}) and not uses_reference("rebel", {})
    assert responses_allowed("reinforce", {"baseline": "leave_one_out"}) == (2, None)
    assert responses_allowed("reinforce", {"baseline": "zero"}) == (1, None)
    assert responses_allowed("rebel", {}) == (2, 2)
