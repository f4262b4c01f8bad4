"""Old log-probabilities of a rollout with a single update: from the update itself, with equal results."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.objectives import METHODS, takes_old_from_update
from astarpo.training import rollout_scoring

GRPO = {"clip": 0.2, "clip_high": 0.28, "kl_coefficient": 0.1, "scale_by_std": True, "std_epsilon": 1e-6}
RUNS = {
    "grpo": ({**GRPO, "average": "sequences"}, 4),
    "rebel": ({"eta": 1.0}, 2),
    "ppo": (
        {"critic_lr": 0.01, "clip": 0.2, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 0.95, "kl_coefficient": 0.1},
        1,
    ),
}


def run(folder, scratch, method, **changes):
    """Train three steps: metrics, weights, and the number of passes of the policy without gradient."""
    hyperparameters, size = RUNS[method]
    changes = {"prompts_per_batch": 16 // size, "responses_per_prompt": size, "steps": 3, **changes}
    made = case.trainer(folder, method=method, hyperparameters=hyperparameters, **changes)
    passes, log_probs = [], made.engine.log_probs

    def count(which, *others):
        passes.append(which)
        return log_probs(which, *others)

    made.engine.log_probs = count
    scratch.mkdir()
    metrics = made.run(scratch).metrics
    before_training = 1  # the sampler's gap
    return metrics, case.weights(made), passes.count("policy") - before_training


def differences(metrics, others):
    """The largest relative difference of any metric of any step."""
    pairs = [(a[name], b[name]) for a, b in zip(metrics, others, strict=True) for name in a if a[name] is not None]
    return max(abs(one - other) / max(abs(other), 1.0) for one, other in pairs)


@pytest.mark.parametrize(("method", "precision"), [("grpo", "float32"), ("grpo", "bfloat16"), ("rebel", "float32")])
def test_without_the_pass_nothing_changes(tiny_folder, tmp_path, monkeypatch, method, precision):
    """GRPO to the last bit. REBEL's pass was padded and summed elsewhere, so its log-ratios were 0 up to rounding."""
    how = {"precision": precision, "max_sampler_gap": None}
    metrics, weights, passes = run(tiny_folder, tmp_path / "a", method, **how)
    assert passes == 0
    monkeypatch.setattr(rollout_scoring, "takes_old_from_update", lambda *_: False)
    others, other_weights, other_passes = run(tiny_folder, tmp_path / "b", method, **how)
    assert other_passes == 3
    if method == "grpo":
        assert metrics == others and torch.equal(weights, other_weights)
    assert differences(metrics, others) < 1e-5
    assert torch.allclose(weights, other_weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("method", "updates"), [("grpo", 2), ("rebel", 2), ("ppo", 1)])
def test_the_pass_is_made_where_it_is_needed(tiny_folder, tmp_path, method, updates):
    """Before a second update, and for the KL in PPO's rewards."""
    assert not takes_old_from_update(method, updates)
    assert run(tiny_folder, tmp_path / "a", method, updates_per_rollout=updates, steps=1)[2] == 1


def test_an_anchor_that_the_update_gives_is_not_a_number(tiny_folder, tmp_path, monkeypatch):
    """A method that used the missing numbers all the same would stop, not train on something else."""
    kept = []
    build = rollout_scoring.Rollout

    def keep(**fields):
        kept.append(build(**fields))
        return kept[-1]

    monkeypatch.setattr(rollout_scoring, "Rollout", keep)
    run(tiny_folder, tmp_path / "a", "rebel", steps=1)
    assert kept[0].old_from_update and kept[0].old_log_probs_BT is None
    assert bool(kept[0].anchor_log_probs_BT.isnan().all())


def test_only_methods_that_say_so_take_them_from_the_update():
    assert {name for name in METHODS if takes_old_from_update(name, 1)} == {"grpo", "rebel"}
