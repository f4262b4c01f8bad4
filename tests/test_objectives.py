"""A*-PO's two functions: numbers by hand, the gradient at the reference, and what must not change them."""

import pytest
import torch

from astarpo.objectives import METHODS, a_star_po, build_loss
from astarpo.objectives.rollout import Rollout


def rollout(anchor_BT, mask_BT, reward_B, v_star_B):
    count = len(reward_B)
    return Rollout(
        prompt_ids=[f"p{i}" for i in range(count)],
        group_ids_B=torch.arange(count),
        mask_BT=mask_BT,
        old_log_probs_BT=None,
        anchor_log_probs_BT=anchor_BT,
        v_star_B=v_star_B,
        reward_B=reward_B,
    )


def example():
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    anchor_BT = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, -0.5, -1.0]])
    log_probs_BT = torch.tensor([[-0.5, -1.5, 0.0], [-1.0, -1.0, -2.0]], requires_grad=True)
    targets = a_star_po.prepare(rollout(anchor_BT, mask_BT, torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.5])))
    return log_probs_BT, mask_BT, targets


def test_loss_by_hand():
    log_probs_BT, mask_BT, targets = example()
    # log-ratios +1 and -2, advantages 0.75 and -0.5: (0.1 - 0.75)^2 = 0.4225 and (-0.2 + 0.5)^2 = 0.09.
    loss, sums = a_star_po.loss(log_probs_BT, mask_BT, targets, 2, beta2=0.1)
    assert loss.item() == pytest.approx((0.4225 + 0.09) / 2)
    assert sums["advantage"].item() == pytest.approx(0.25)
    assert sums["implicit_advantage"].item() == pytest.approx(-0.1)


def test_gradient_by_hand_is_the_same_for_every_token_of_a_response():
    log_probs_BT, mask_BT, targets = example()
    a_star_po.loss(log_probs_BT, mask_BT, targets, 2, beta2=0.1)[0].backward()
    first, second = 2 * 0.1 * (0.1 - 0.75) / 2, 2 * 0.1 * (-0.2 + 0.5) / 2
    expected = torch.tensor([[first, first, 0.0], [second, second, second]])
    assert torch.allclose(log_probs_BT.grad, expected)


def test_gradient_at_the_reference_is_that_of_reinforce_with_a_fixed_baseline():
    mask_BT = torch.ones(2, 3, dtype=torch.bool)
    anchor_BT = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    log_probs_BT = anchor_BT.clone().requires_grad_()
    reward_B, v_star_B = torch.tensor([1.0, 0.0]), torch.tensor([0.3, 0.6])
    targets = a_star_po.prepare(rollout(anchor_BT, mask_BT, reward_B, v_star_B))
    a_star_po.loss(log_probs_BT, mask_BT, targets, 2, beta2=0.001)[0].backward()
    expected_B = -2 * 0.001 * (reward_B - v_star_B) / 2
    assert torch.allclose(log_probs_BT.grad, expected_B[:, None].expand(2, 3))


def test_sums_over_micro_batches_are_the_loss_of_the_whole():
    log_probs_BT, mask_BT, targets = example()
    whole, _ = a_star_po.loss(log_probs_BT, mask_BT, targets, 2, beta2=0.1)
    parts = sum(
        a_star_po.loss(log_probs_BT[row], mask_BT[row], {k: v[row] for k, v in targets.items()}, 2, beta2=0.1)[0]
        for row in (slice(0, 1), slice(1, 2))
    )
    assert parts.item() == pytest.approx(whole.item())


def test_no_length_normalisation_doubling_a_response_doubles_its_log_ratio():
    mask_BT = torch.ones(1, 4, dtype=torch.bool)
    anchor_BT, log_probs_BT = torch.full((1, 4), -1.0), torch.full((1, 4), -0.5)
    zero = torch.zeros(1)
    targets = a_star_po.prepare(rollout(anchor_BT, mask_BT, zero, zero))
    long, _ = a_star_po.loss(log_probs_BT, mask_BT, targets, 1, beta2=1.0)
    half = torch.tensor([[True, True, False, False]])
    targets = a_star_po.prepare(rollout(anchor_BT, half, zero, zero))
    short, _ = a_star_po.loss(log_probs_BT, half, targets, 1, beta2=1.0)
    assert long.item() == pytest.approx(4.0) and short.item() == pytest.approx(1.0)


def test_the_minimiser_is_the_optimal_policy_of_a_two_answer_bandit():
    # With V* exact at beta2, the residual is 0 for both answers: beta2 ln(pi*/pi_ref) = r - V*.
    beta2, p = 0.5, torch.tensor([0.2, 0.8])
    reward = torch.tensor([1.0, 0.0])
    v_star = beta2 * torch.log((p * torch.exp(reward / beta2)).sum())
    optimal = p * torch.exp((reward - v_star) / beta2)
    assert optimal.sum().item() == pytest.approx(1.0)
    mask_BT = torch.ones(2, 1, dtype=torch.bool)
    targets = a_star_po.prepare(rollout(p.log()[:, None], mask_BT, reward, v_star.expand(2)))
    loss, _ = a_star_po.loss(optimal.log()[:, None], mask_BT, targets, 2, beta2=beta2)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)


def test_a_star_po_without_v_star_is_refused():
    mask_BT = torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="needs V\\*"):
        a_star_po.prepare(rollout(torch.zeros(1, 1), mask_BT, torch.ones(1), None))


def test_build_loss_fixes_exactly_the_methods_hyperparameters():
    log_probs_BT, mask_BT, targets = example()
    loss, _ = build_loss("a_star_po", {"beta2": 0.1})(log_probs_BT, mask_BT, targets, 2)
    assert loss.item() == pytest.approx(0.25625)
    assert METHODS["a_star_po"].anchor == "reference" and METHODS["a_star_po"].needs_v_star
