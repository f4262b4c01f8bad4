"""Every method: hand-worked numbers, invariances, and a short training that resumes to the last bit."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.config.methods import METHOD_RUNS
from astarpo.objectives import (
    METHODS,
    a_star_po,
    build_loss,
    build_prepare,
    grpo,
    oapl,
    ppo,
    rebel,
    reinforce,
)
from astarpo.objectives.loss_terms import k3, leave_one_out_mean, whiten
from astarpo.objectives.rollout import Rollout
from astarpo.stage_one.settings import EstimateSettings
from astarpo.stage_one.values import ESTIMATORS
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.running_statistics import RunningStatistics
from astarpo.training.sampler_gap import GAPS


def rollout(rewards, groups=None, anchor=None, old=None, mask=None, **more):
    """A batch of responses of two tokens, if not said otherwise; the anchor gives each token ln p = -1."""
    reward_B = torch.tensor(rewards)
    size = (len(rewards), 2) if mask is None else mask.shape
    mask_BT = torch.ones(size, dtype=torch.bool) if mask is None else mask
    anchor_BT = torch.full(size, -1.0) if anchor is None else anchor
    fields = {
        "prompt_ids": [f"p{n}" for n in range(len(rewards))],
        "group_ids_B": torch.tensor(groups if groups is not None else list(range(len(rewards)))),
        "mask_BT": mask_BT,
        "old_log_probs_BT": old,
        "anchor_log_probs_BT": anchor_BT,
        "v_star_B": None,
        "reward_B": reward_B,
        **more,
    }
    return Rollout(**fields)


# GRPO

GRPO = {"clip": 0.2, "clip_high": 0.2, "kl_coefficient": 0.0, "max_new_tokens": 4}


def test_grpo_advantages_by_hand():
    """Rewards 1, 0, 0, 0: mean 1/4, unbiased deviation 1/2."""
    batch = rollout([1.0, 0.0, 0.0, 0.0], [7, 7, 7, 7], old=torch.zeros(4, 2))
    found = grpo.prepare(batch, scale_by_std=True, std_epsilon=0.0)["advantage_B"]
    assert found.tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5])
    found = grpo.prepare(batch, scale_by_std=False, std_epsilon=0.0)["advantage_B"]
    assert found.tolist() == pytest.approx([0.75, -0.25, -0.25, -0.25])


def test_grpo_group_without_difference_is_exactly_zero():
    batch = rollout([1.0, 1.0, 0.0, 0.0], [0, 0, 1, 1], old=torch.zeros(4, 2))
    found = grpo.prepare(batch, scale_by_std=True, std_epsilon=1e-6)["advantage_B"]
    assert found.tolist() == [0.0] * 4


def test_groups_do_not_depend_on_the_order_of_the_rows():
    one = rollout([1.0, 0.0, 0.0, 1.0], [3, 3, 5, 5], old=torch.zeros(4, 2))
    two = rollout([1.0, 0.0, 0.0, 1.0], [3, 5, 3, 5], old=torch.zeros(4, 2))
    a = grpo.prepare(one, scale_by_std=False, std_epsilon=0.0)["advantage_B"]
    b = grpo.prepare(two, scale_by_std=False, std_epsilon=0.0)["advantage_B"]
    assert a.tolist() == [0.5, -0.5, -0.5, 0.5] and b.tolist() == [0.5, -0.5, -0.5, 0.5]


@pytest.mark.parametrize(
    ("average", "normaliser", "expected"),
    # Advantages 1 and -1, ratio 1, lengths 1 and 3: per token the loss is -1 and +1.
    [("sequences", 2, 0.0), ("tokens", 4, 0.5), ("constant", 2, 0.25)],
)
def test_grpo_averages_by_hand(average, normaliser, expected):
    mask = torch.tensor([[True, False, False], [True, True, True]])
    zero = torch.zeros(2, 3)
    targets = {
        "advantage_B": torch.tensor([1.0, -1.0]),
        "old_log_probs_BT": zero,
        "anchor_log_probs_BT": zero,
    }
    found, sums = grpo.loss(zero, mask, targets, normaliser, average=average, **GRPO)
    assert found.item() == pytest.approx(expected) and sums["ratio_clip_fraction"] == 0


def test_grpo_clips_by_hand():
    """Ratio 1.5: with A = 1 held at 1.2, without gradient; with A = -1 free."""
    mask, old = torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 1)
    log_probs = torch.full((2, 1), 1.5).log().requires_grad_()
    targets = {
        "advantage_B": torch.tensor([1.0, -1.0]),
        "old_log_probs_BT": old,
        "anchor_log_probs_BT": old,
    }
    found, sums = grpo.loss(log_probs, mask, targets, 2, average="sequences", **GRPO)
    assert found.item() == pytest.approx((-1.2 + 1.5) / 2) and sums["ratio_clip_fraction"] == 1
    found.backward()
    assert log_probs.grad[:, 0].tolist() == pytest.approx([0.0, 0.75])


def test_grpo_clips_above_and_below_at_bounds_of_their_own():
    """Ratios 1.5 and 0.5 with A = 1 and -1: held at 1.3 above and at 0.9 below."""
    mask, old = torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 1)
    targets = {
        "advantage_B": torch.tensor([1.0, -1.0]),
        "old_log_probs_BT": old,
        "anchor_log_probs_BT": old,
    }
    settings = {**GRPO, "clip": 0.1, "clip_high": 0.3, "average": "sequences"}
    log_probs = torch.tensor([[1.5], [0.5]]).log()
    found, sums = grpo.loss(log_probs, mask, targets, 2, **settings)
    assert found.item() == pytest.approx((-1.3 + 0.9) / 2) and sums["ratio_clip_fraction"] == 2


def test_k3_is_unbiased_and_never_negative():
    """Over a categorical: its mean under pi is KL(pi || q), worked out directly."""
    pi, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    found = k3(pi.log(), q.log())
    assert (found >= 0).all()
    assert (pi * found).sum().item() == pytest.approx((pi * (pi / q).log()).sum().item())


# PPO


def test_gae_by_hand():
    """gamma 1/2, lambda 1/2: deltas 1/2*2-1, 1/2*3-2, 4-3; A3 = 1, A2 = -1/2 + 1/4, A1 = 0 + 1/4 * -1/4."""
    reward, value = torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    found = ppo.generalised_advantages(reward, value, mask, 0.5, 0.5)
    assert found.tolist()[0] == pytest.approx([-0.0625, -0.25, 1.0])


def test_gae_with_both_one_is_return_minus_value_and_padding_is_nothing():
    reward, value = torch.tensor([[0.5, 1.0, 9.0]]), torch.tensor([[0.2, 0.3, 7.0]])
    mask = torch.tensor([[True, True, False]])
    found = ppo.generalised_advantages(reward, value, mask, 1.0, 1.0)
    assert found.tolist()[0] == pytest.approx([1.3, 0.7, 0.0])


def test_whitening_uses_the_mask():
    values, mask = torch.tensor([[1.0, 3.0, 100.0]]), torch.tensor([[True, True, False]])
    root = 2**-0.5
    assert whiten(values, mask)[0].tolist() == pytest.approx([-root, root, 0.0])
    one = torch.tensor([[True, False, False]])
    assert whiten(values, one)[0].tolist() == [1.0, 0.0, 0.0]


def test_ppo_value_clip_by_hand():
    """Old value 0, return 1: at value 0.8 the clipped one is 0.5, and its error of 0.25 is the larger."""
    mask, zero = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1)
    targets = {
        "advantage_BT": zero,
        "return_BT": torch.ones(1, 1),
        "old_values_BT": zero,
        "old_log_probs_BT": zero,
        "explained_variance_B": torch.zeros(1),
    }
    found, sums = ppo.loss(zero, mask, targets, 1, values_BT=torch.full((1, 1), 0.8), clip=0.2, value_clip=0.5)
    assert found.item() == pytest.approx(0.125) and sums["value_clip_fraction"] == 1


def test_ppo_puts_the_reward_on_the_last_token_and_the_kl_on_each():
    mask = torch.tensor([[True, True, False]])
    batch = rollout(
        [1.0],
        mask=mask,
        anchor=torch.full((1, 3), -2.0),
        old=torch.full((1, 3), -1.0),
        old_values_BT=torch.zeros(1, 3),
    )
    found = ppo.prepare(batch, gamma=1.0, gae_lambda=1.0, kl_coefficient=0.1)
    assert found["return_BT"][0].tolist() == pytest.approx([0.8, 0.9, 0.0])


# REBEL


def test_rebel_by_hand_and_in_any_order():
    """Log-ratios 0.4 and -0.2, rewards 1 and 0, eta 2: (0.6 - 2)^2."""
    mask = torch.ones(2, 1, dtype=torch.bool)
    batch = rollout([1.0, 0.0], [4, 4], mask=mask, anchor=torch.zeros(2, 1))
    log_probs = torch.tensor([[0.4], [-0.2]])
    found, _ = rebel.loss(log_probs, mask, rebel.prepare(batch), 2, eta=2.0)
    assert found.item() == pytest.approx(1.96)
    swapped = rollout([0.0, 1.0], [4, 4], mask=mask, anchor=torch.zeros(2, 1))
    again, _ = rebel.loss(log_probs.flip(0), mask, rebel.prepare(swapped), 2, eta=2.0)
    assert again.item() == pytest.approx(1.96)


def test_rebel_refuses_what_is_no_pair():
    with pytest.raises(ValueError, match="exactly two"):
        rebel.prepare(rollout([1.0, 0.0, 1.0], [4, 4, 5]))


# REINFORCE and OAPL


@pytest.mark.parametrize("kl_in_reward", [True, False])
def test_reinforce_is_a_star_po_up_to_two_beta2(kl_in_reward):
    torch.manual_seed(0)
    beta2, v_star = 0.3, torch.tensor([0.2, 0.9, 0.5])
    batch = rollout([1.0, 0.0, 1.0], v_star_B=v_star)
    grads = []
    for module in (a_star_po, reinforce):
        torch.manual_seed(1)
        log_probs = torch.randn(3, 2).requires_grad_()
        if module is a_star_po:
            found, _ = a_star_po.loss(log_probs, batch.mask_BT, a_star_po.prepare(batch), 3, beta2=beta2)
        else:
            targets = reinforce.prepare(batch, baseline="v_star")
            found, _ = reinforce.loss(log_probs, batch.mask_BT, targets, 3, beta2=beta2, kl_in_reward=kl_in_reward)
        found.backward()
        grads.append(log_probs.grad)
    same = torch.allclose(grads[0], 2 * beta2 * grads[1], atol=1e-7)
    assert same is kl_in_reward


def test_gradient_of_a_star_po_where_policy_and_reference_are_equal():
    """-2 beta2 (r - V) grad ln pi."""
    log_probs = torch.full((2, 2), -1.0).requires_grad_()
    batch = rollout([1.0, 0.0], v_star_B=torch.tensor([0.25, 0.5]))
    found, _ = a_star_po.loss(log_probs, batch.mask_BT, a_star_po.prepare(batch), 1, beta2=0.1)
    found.backward()
    assert log_probs.grad[:, 0].tolist() == pytest.approx([-0.15, 0.1])


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        ("zero", [1.0, 0.0, 1.0, 1.0]),
        ("batch_mean", [0.25, -0.75, 0.25, 0.25]),
        ("running_mean", [0.6, -0.4, 0.6, 0.6]),
        ("leave_one_out", [1.0, -1.0, 0.0, 0.0]),
        ("v_star", [0.5, -0.5, 0.5, 0.5]),
        ("constant", [0.8, -0.2, 0.8, 0.8]),
    ],
)
def test_baselines(baseline, expected):
    batch = rollout([1.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], v_star_B=torch.full((4,), 0.5), running_mean=0.4)
    found = reinforce.prepare(batch, baseline=baseline, constant=0.2)["advantage_B"]
    assert found.tolist() == pytest.approx(expected)


def test_leave_one_out_of_one_is_refused():
    with pytest.raises(ValueError, match="only one response"):
        leave_one_out_mean(torch.ones(1), torch.zeros(1, dtype=torch.long))


def test_oapl_estimates_v_star_from_its_own_group():
    import numpy as np

    batch = rollout([1.0, 0.0, 0.0, 0.0], [2, 2, 2, 2])
    wanted = ESTIMATORS["log_mean_exp"](np.array([1]), np.array([4]), 0.5)[0]
    found = oapl.prepare(batch, beta1=0.5)["advantage_B"]
    assert found.tolist() == pytest.approx([1 - wanted, -wanted, -wanted, -wanted], rel=1e-5)


def test_running_means_and_counts():
    """Decay 1/2: after rewards 1 and then 0 the mean is (1/4 + 0) / (3/4). One success of four, and one more: 1.75."""
    prompt = TrainingPrompt("p", [1], "1", "integer", 0.3, 4, 1)
    told = {"baseline_decay": 0.5, "value_update": "running"}, EstimateSettings(estimator="mean")
    statistics = RunningStatistics([prompt], *told)
    assert statistics.running_mean == 0.0 and statistics.v_star(prompt) == 0.25
    statistics.learn([prompt], [1.0])
    assert statistics.running_mean == 1.0 and statistics.v_star(prompt) == pytest.approx(1.75 / 4)
    again = RunningStatistics([prompt], *told)
    again.load_state(statistics.state())
    again.learn([prompt], [0.0])
    assert again.running_mean == pytest.approx(1 / 3)


# A bandit whose optimum is known


@pytest.mark.parametrize("beta2", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("method", ["a_star_po", "reinforce"])
def test_training_on_a_bandit_finds_the_optimal_policy(method, beta2):
    """Four answers, exact V*, the expectation over answers in place of samples: KL(pi || pi*) goes below 1e-3."""
    reference = torch.tensor([0.4, 0.3, 0.2, 0.1])
    reward = torch.tensor([0.0, 1.0, 0.0, 1.0])
    v_star = beta2 * torch.logsumexp(reference.log() + reward / beta2, 0)
    optimal = reference * torch.exp((reward - v_star) / beta2)
    logits = reference.log().clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.05)
    anchor, mask = reference.log()[:, None], torch.ones(4, 1, dtype=torch.bool)
    batch = rollout(reward.tolist(), mask=mask, anchor=anchor, v_star_B=v_star.expand(4))
    own = (
        {"beta2": beta2, "value_update": "none"}
        if method == "a_star_po"
        else {
            "beta2": beta2,
            "baseline": "v_star",
            "kl_in_reward": True,
            "baseline_decay": 0.0,
        }
    )
    targets = build_prepare(method, own)(batch)
    loss = build_loss(method, own)
    for _ in range(600):
        log_pi = logits.log_softmax(0)
        weights = log_pi.detach().exp()
        optimizer.zero_grad()
        total = sum(
            weights[a] * loss(log_pi[a : a + 1, None], mask[:1], {k: v[a : a + 1] for k, v in targets.items()}, 1)[0]
            for a in range(4)
        )
        total.backward()
        optimizer.step()
    log_pi = logits.detach().log_softmax(0)
    assert (log_pi.exp() * (log_pi - optimal.log())).sum().item() < 1e-3


# method.md 5: bias / standard deviation of V_hat at beta1 = 0.5.
@pytest.mark.parametrize(
    ("p", "n", "bias", "deviation"),
    [
        (0.05, 8, -0.028, 0.16),
        (0.125, 8, -0.042, 0.21),
        (0.25, 1, -0.227, 0.43),
        (0.5, 8, -0.020, 0.15),
        (0.5, 32, -0.005, 0.07),
        (0.75, 4, -0.018, 0.14),
    ],
)
def test_bias_and_spread_of_the_estimate(p, n, bias, deviation):
    """By the exact binomial distribution, and the bias shrinks as N grows."""
    from math import comb, exp, log

    import numpy as np

    chance = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
    found = ESTIMATORS["log_mean_exp"](np.arange(n + 1), np.full(n + 1, n), 0.5)
    exact = 0.5 * log(1 - p + p * exp(2.0))
    mean = (chance * found).sum()
    assert mean - exact == pytest.approx(bias, abs=6e-4)
    assert ((chance * (found - mean) ** 2).sum()) ** 0.5 == pytest.approx(deviation, abs=6e-3)


# Whole trainings


# beta2, eta and the weights of the KL terms are large: what they multiply has a part in the numbers.
SCALE = {"value_scale_decay": 0.5, "score_norm": "surprisal", "score_norm_responses": 4}
SETTINGS = {
    "a_star_po": {"beta2": 0.5, "value_update": "running", "value_scale": "adaptive", **SCALE},
    "grpo": {
        "clip": 0.2,
        "clip_high": 0.28,
        "kl_coefficient": 0.1,
        "scale_by_std": True,
        "std_epsilon": 1e-6,
        "average": "sequences",
    },
    "ppo": {"critic_lr": 1e-2, "clip": 0.2, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 0.95, "kl_coefficient": 0.1},
    "rebel": {"eta": 1.0},
    "reinforce": {
        "baseline": "running_mean",
        "beta2": 0.5,
        "kl_in_reward": True,
        "baseline_decay": 0.9,
        "constant": 0.0,
        "value_scale": 1.0,
        **SCALE,
    },
    "oapl": {"beta1": 1.0, "beta2": 0.5, "sync_every": 2},
}
# Prompts in a batch, and responses to each: enough for groups with different rewards in each batch.
SIZES = {"grpo": (4, 4), "rebel": (8, 2), "oapl": (4, 4)}


def trainer(folder, method, machine=case.MACHINE, **changes):
    prompts, responses = SIZES.get(method, (8, 1))
    return case.trainer(
        folder,
        machine=machine,
        method=method,
        hyperparameters=SETTINGS[method],
        estimate=EstimateSettings(beta1=0.5) if method == "a_star_po" else None,
        prompts_per_batch=prompts,
        responses_per_prompt=responses,
        **changes,
    )


def deterministic(history):
    return history.metrics


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_settings_here_and_in_the_configuration(method):
    assert set(METHODS[method].hyperparameters) <= set(SETTINGS[method])
    assert method in METHOD_RUNS


@pytest.mark.parametrize("method", METHODS)
def test_a_training_killed_and_resumed_ends_as_it_would_have(tiny_folder, tmp_path, method):
    whole = trainer(tiny_folder, method)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = deterministic(whole.run(tmp_path / "a"))
    assert len(expected) == 5
    for row in expected[1:]:
        assert all(row[name] is not None for name in ("loss", "kl_per_token", "grad_norm", *METHODS[method].metrics))
    every_two = case.MACHINE.changed(checkpoint_every=2)
    case.kill_at(trainer(tiny_folder, method, every_two), 4, tmp_path / "b")
    resumed = trainer(tiny_folder, method, every_two)
    assert deterministic(resumed.run(tmp_path / "b")) == expected
    assert torch.equal(case.weights(whole), case.weights(resumed))
    if whole.engine.critic is not None:
        for one, other in zip(
            whole.engine.critic.module.parameters(),
            resumed.engine.critic.module.parameters(),
            strict=True,
        ):
            assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["grpo", "ppo"])
def test_the_ratio_is_one_at_the_first_update(tiny_folder, tmp_path, method):
    history = trainer(tiny_folder, method).run(tmp_path)
    assert history.metrics[1]["ratio_clip_fraction"] == 0.0


def test_the_lagged_policy_draws_and_moves_at_synchronisations_only(tiny_folder):
    made = trainer(tiny_folder, "oapl")
    engine, parameters = made.engine, list(made.engine.policy.model.parameters())
    before = [weight.clone() for weight in engine.lagged.weights]
    with made.grader:
        made._step(1)
        assert not same(before, parameters) and same(before, engine.lagged.weights)
        with engine.sampling_weights():
            assert same(before, parameters)
        made._step(2)
        assert same(before, engine.lagged.weights)
        newest = [weight.detach().clone() for weight in parameters]
        made._step(3)
        assert same(newest, engine.lagged.weights)


def same(ones, others):
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].anchor != "lagged"])
def test_only_a_lagged_method_draws_from_another_policy_than_it_trains(tiny_folder, tmp_path, method):
    made = trainer(tiny_folder, method)
    made.run(tmp_path)
    assert made.engine.lagged is None


def test_the_critic_starts_from_the_base_and_says_nothing(tiny_folder):
    made = trainer(tiny_folder, "ppo")
    critic, base = made.engine.critic, made.engine.reference.model.base_model
    for one, other in zip(critic.module.body.parameters(), base.parameters(), strict=True):
        assert torch.equal(one, other) and one.requires_grad and one is not other
    parts = made.engine.micro_batches([[1, 2], [3]], [[4, 5], [6]], [0, 1])
    assert made.engine.values(parts, 2, 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_change_no_number_but_the_last_bits(tiny_folder, tmp_path, method):
    found, gradients = [], []
    for size in (1, 16):
        (tmp_path / str(size)).mkdir()
        made = trainer(tiny_folder, method, case.MACHINE.changed(micro_batch=size), steps=1)
        found.append(made.run(tmp_path / str(size)).metrics[1])
        models = [made.engine.policy.model]
        if made.engine.critic is not None:
            models.append(made.engine.critic.module)
        gradients.append([weight.grad for model in models for weight in model.parameters()])
    for name, value in found[0].items():
        if isinstance(value, float):
            # Gaps to the sampler are nothing but last bits here.
            near = 1e-5 if name in GAPS else 1e-6
            assert found[1][name] == pytest.approx(value, rel=1e-4, abs=near), name
    largest = max(float(one.abs().max()) for one in gradients[0])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * largest)
