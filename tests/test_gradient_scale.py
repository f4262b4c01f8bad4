"""Gradient norms of all methods on one scale: the factor of each loss, clipping, the metric, DeepSpeed's limit."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.objectives import METHODS, build_loss, build_prepare, gradient_factor
from astarpo.objectives.rollout import Rollout
from astarpo.training.deepspeed.optimizer import deepspeed_config

GROUPS = torch.tensor([0, 0, 1, 1, 2, 2])
REWARDS = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
LENGTHS = [1, 4, 2, 3, 4, 2]
MAX_NEW_TOKENS = 7
LEAVE_ONE_OUT = {"baseline": "leave_one_out", "beta2": 0.3, "kl_in_reward": False}


def rollout(v_star_B=None):
    """Six responses to three prompts, where policy, anchor and the policy that sampled are equal."""
    mask_BT = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    log_probs_BT = -torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * mask_BT
    old_BT = log_probs_BT
    return Rollout([f"p{g}" for g in GROUPS], GROUPS, mask_BT, old_BT, log_probs_BT, v_star_B, REWARDS)


def gradient(method, hyperparameters, batch):
    """Of the method's loss with respect to the log-probabilities, where they equal the anchor's."""
    log_probs_BT = batch.anchor_log_probs_BT.clone().requires_grad_()
    targets = build_prepare(method, hyperparameters)(batch)
    loss, _ = build_loss(method, hyperparameters, MAX_NEW_TOKENS)(log_probs_BT, batch.mask_BT, targets, 6)
    loss.backward()
    return log_probs_BT.grad


def policy_gradient(advantages, mask_BT):
    """-1/6 A at every token of a response: the gradient of -mean over sequences of A ln pi(y|x)."""
    return -torch.tensor(advantages, dtype=torch.float64)[:, None] * mask_BT / 6


def test_a_star_po_is_two_beta2_times_the_policy_gradient():
    batch = rollout(torch.tensor([0.25, 0.5, 0.5, 0.25, 0.5, 1.0], dtype=torch.float64))
    expected = policy_gradient([0.75, -0.5, -0.5, 0.75, 0.5, 0.0], batch.mask_BT)
    for beta2 in (1e-3, 0.2):
        factor = gradient_factor("a_star_po", {"beta2": beta2})
        assert factor == 2 * beta2
        assert torch.allclose(gradient("a_star_po", {"beta2": beta2}, batch) / factor, expected, rtol=1e-12, atol=0)


def test_rebel_is_four_eta_times_reinforce_with_the_other_response_as_baseline():
    """Of a pair with different rewards, the advantages are 1 and -1; of the last pair 0."""
    batch = rollout()
    leave_one_out = gradient("reinforce", LEAVE_ONE_OUT, batch)
    assert torch.equal(leave_one_out, policy_gradient([1, -1, -1, 1, 0, 0], batch.mask_BT))
    for eta in (1.0, 0.25):
        rebel = gradient("rebel", {"eta": eta}, batch)
        assert gradient_factor("rebel", {"eta": eta}) == 4 * eta
        assert torch.allclose(rebel, 4 * eta * leave_one_out, rtol=1e-12, atol=0)


def test_oapl_is_two_beta2_times_the_policy_gradient():
    """V* at beta1 = 0.5 of groups with 1 of 2 right is 1/2 ln((1 + e^2)/2)."""
    batch = rollout()
    half = 0.5 * float(torch.log((1 + torch.tensor(2.0, dtype=torch.float64).exp()) / 2))
    expected = policy_gradient([1 - half, -half, -half, 1 - half, 0, 0], batch.mask_BT)
    factor = gradient_factor("oapl", {"beta1": 0.5, "beta2": 0.3, "sync_every": 2})
    found = gradient("oapl", {"beta1": 0.5, "beta2": 0.3}, batch) / factor
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_dr_grpo_is_the_policy_gradient_divided_by_the_longest_response():
    grpo = {"clip": 0.2, "clip_high": 0.2, "kl_coefficient": 0.0, "scale_by_std": False, "std_epsilon": 0.0}
    batch = rollout()
    expected = policy_gradient([0.5, -0.5, -0.5, 0.5, 0, 0], batch.mask_BT)
    factor = gradient_factor("grpo", {**grpo, "average": "constant"}, MAX_NEW_TOKENS)
    assert torch.allclose(gradient("grpo", {**grpo, "average": "constant"}, batch) / factor, expected, rtol=1e-12)
    for average in ("sequences", "tokens"):
        assert gradient_factor("grpo", {**grpo, "average": average}, MAX_NEW_TOKENS) == 1
    assert gradient_factor("ppo", {}) == gradient_factor("reinforce", LEAVE_ONE_OUT) == 1


RUNS = {
    "a_star_po": {"beta2": 0.1},
    "reinforce": {"baseline": "v_star", "beta2": 0.1, "kl_in_reward": True, "baseline_decay": 0.9},
}


def first_step(folder, scratch, method, **changes):
    """The metrics of one step, and the gradient that it was made with, after clipping."""
    made = case.trainer(folder, method=method, hyperparameters=RUNS[method], steps=1, **changes)
    scratch.mkdir()
    metrics = made.run(scratch).metrics[1]
    return metrics, torch.cat([weight.grad.reshape(-1) for weight in made.engine.policy.model.parameters()])


@pytest.mark.parametrize("limit", [0.01, 1e3])
def test_a_star_po_and_reinforce_are_clipped_alike(tiny_folder, tmp_path, limit):
    """Their gradients differ by 2 beta2 = 0.2 alone, before and after clipping."""
    (first, clipped), (other, reinforce) = (
        first_step(tiny_folder, tmp_path / method, method, max_grad_norm=limit) for method in RUNS
    )
    assert first["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
    assert first["clip_fraction"] == other["clip_fraction"] == float(limit < 1)
    assert torch.allclose(clipped, 0.2 * reinforce, rtol=1e-3, atol=1e-3 * float(clipped.abs().max()))
    assert float(clipped.norm()) == pytest.approx(0.2 * min(limit, first["grad_norm"]), rel=2e-3)


def test_the_norm_of_the_loss_is_that_of_its_gradient(tiny_folder, tmp_path):
    scaled, _ = first_step(tiny_folder, tmp_path / "a", "a_star_po", max_grad_norm=1e3)
    plain, gradient = first_step(tiny_folder, tmp_path / "b", "a_star_po", max_grad_norm=1e3, grad_norm_of="loss")
    assert plain["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert plain["grad_norm"] == pytest.approx(0.2 * scaled["grad_norm"], rel=1e-5)
    # A limit between the two norms clips on one scale alone.
    between = 0.5 * (plain["grad_norm"] + scaled["grad_norm"])
    for name, scale, clips in (("c", "loss", 0.0), ("d", "policy_gradient", 1.0)):
        row, _ = first_step(tiny_folder, tmp_path / name, "a_star_po", max_grad_norm=between, grad_norm_of=scale)
        assert row["clip_fraction"] == clips


def test_deepspeed_clips_at_the_same_norm():
    settings = case.SETTINGS.changed(engine="deepspeed", max_grad_norm=0.5, hyperparameters={"beta2": 1e-3})
    assert deepspeed_config(settings, case.MACHINE)["gradient_clipping"] == pytest.approx(0.5 * 2e-3)
    of_loss = settings.changed(grad_norm_of="loss")
    assert deepspeed_config(of_loss, case.MACHINE)["gradient_clipping"] == 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_factor_is_known_from_the_settings_of_the_method(method):
    from astarpo.config.methods import METHOD_RUNS

    own = METHOD_RUNS[method].method_settings
    settings = {name: field.default for name, field in own.model_fields.items() if not field.is_required()}
    assert gradient_factor(method, settings, MAX_NEW_TOKENS) > 0
