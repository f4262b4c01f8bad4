"""Policy, critic and warm start against AdamW by hand, with settings of which none is a default."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.common.columns import DATASET
from astarpo.common.files import write_table
from astarpo.stage_one import reference
from astarpo.stage_one.settings import ReferenceSettings

SETTINGS = {
    "steps": 3,
    "updates_per_rollout": 2,
    "lr": 0.02,
    "lr_schedule": "linear",
    "lr_warmup_steps": 2,
    "adam_betas": (0.7, 0.8),
    "adam_eps": 1e-3,
    "weight_decay": 0.3,
    "max_grad_norm": 0.01,
    "grad_norm_of": "loss",
}
# Six updates: two of warm-up, then four that fall from the peak by a quarter of it each.
SHARES_OF_PEAK = [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
HOW = {"betas": (0.7, 0.8), "eps": 1e-3, "decay": 0.3, "longest": 0.01}
DEFAULTS = [
    {"betas": (0.9, 0.8)},
    {"betas": (0.7, 0.999)},
    {"eps": 1e-8},
    {"decay": 0.0},
    {"decay": 0.01},
    {"longest": float("inf")},
]
PPO = {
    "critic_lr": 0.05,
    "clip": 0.2,
    "value_clip": 0.5,
    "gamma": 1.0,
    "gae_lambda": 0.95,
    "kl_coefficient": 0.1,
}
NEAR, FAR = 2e-6, 1e-4


def adamw(start, gradients, rates, betas, eps, decay, longest):
    """Weights after each step (arXiv 1711.05101, algorithm 2), the gradient clipped to a norm first."""
    weight, first, second = start.double(), 0.0, 0.0
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        clipped = gradient.double() * min(1.0, longest / float(gradient.double().norm()))
        first = betas[0] * first + (1 - betas[0]) * clipped
        second = betas[1] * second + (1 - betas[1]) * clipped**2
        mean, square = first / (1 - betas[0] ** step), second / (1 - betas[1] ** step)
        weight = weight - rate * decay * weight - rate * mean / (square.sqrt() + eps)
        yield weight


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


class Watched:
    """Weights before each step and whole gradients, taken before anything clips them."""

    def __init__(self, module):
        self.parameters = list(module.parameters())
        self.newest = {}
        self.weights, self.gradients = [flat(self.parameters)], []
        for index, parameter in enumerate(self.parameters):
            parameter.register_post_accumulate_grad_hook(self._keep(index))

    def _keep(self, index):
        def keep(parameter):
            self.newest[index] = parameter.grad.clone()

        return keep

    def step_is_made(self):
        self.gradients.append(flat(self.newest[i] for i in range(len(self.parameters))))
        self.weights.append(flat(self.parameters))

    def farthest(self, rates, **how):
        """The largest difference to AdamW by hand, over all weights and steps."""
        expected = adamw(self.weights[0], self.gradients, rates, **how)
        return max(
            float((found - wanted).abs().max()) for found, wanted in zip(self.weights[1:], expected, strict=True)
        )


def assert_adamw(watched, rates, how, others):
    assert all(float(one.norm()) > 2 * how["longest"] for one in watched.gradients)
    assert watched.farthest(rates, **how) < NEAR
    for changed in others:
        assert watched.farthest(rates, **{**how, **changed}) > FAR, changed
    for index in range(len(rates)):  # each step's rate counts
        wrong = [rate * (1.2 if place == index else 1.0) for place, rate in enumerate(rates)]
        assert watched.farthest(wrong, **how) > FAR, index


def watch_updates(made, *watched):
    update = made.engine.update

    def watch(*arguments):
        sums = update(*arguments)
        for one in watched:
            one.step_is_made()
        return sums

    made.engine.update = watch


def test_the_policy_takes_the_steps_of_adamw(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, **SETTINGS)
    watched = Watched(made.engine.policy.model)
    watch_updates(made, watched)
    rows = made.run(tmp_path).metrics[1:]
    assert_adamw(watched, [0.02 * share for share in SHARES_OF_PEAK], HOW, DEFAULTS)
    norms = [float(one.norm()) for one in watched.gradients]
    for row, (first, second) in zip(rows, zip(norms[::2], norms[1::2], strict=True), strict=True):
        assert row["grad_norm"] == pytest.approx((first + second) / 2, rel=1e-4)
        assert row["clip_fraction"] == 1.0
    assert [row["lr"] for row in rows] == pytest.approx([0.02, 0.015, 0.005])


def test_the_critic_takes_its_own_steps_at_its_own_rate(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, **SETTINGS, method="ppo", hyperparameters=PPO)
    policy, critic = Watched(made.engine.policy.model), Watched(made.engine.critic.module)
    watch_updates(made, policy, critic)
    made.run(tmp_path)
    assert_adamw(critic, [0.05 * share for share in SHARES_OF_PEAK], HOW, DEFAULTS)
    assert_adamw(policy, [0.02 * share for share in SHARES_OF_PEAK], HOW, [])


def test_gradients_within_the_norm_are_left_as_they_are(tiny_folder, tmp_path):
    settings = {**SETTINGS, "max_grad_norm": 1e3}
    made = case.trainer(tiny_folder, **settings, method="ppo", hyperparameters=PPO)
    policy, critic = Watched(made.engine.policy.model), Watched(made.engine.critic.module)
    watch_updates(made, policy, critic)
    made.run(tmp_path)
    unclipped = {**HOW, "longest": float("inf")}
    assert policy.farthest([0.02 * share for share in SHARES_OF_PEAK], **unclipped) < NEAR
    assert critic.farthest([0.05 * share for share in SHARES_OF_PEAK], **unclipped) < NEAR


WARM_START = {
    "steps": 4,
    "batch_size": 2,
    "lr": 0.02,
    "lr_schedule": "cosine",
    "lr_warmup_steps": 2,
    "adam_betas": [0.7, 0.8],
    "weight_decay": 0.3,
    "max_grad_norm": 0.05,
    "seed": 0,
}


def test_the_warm_start_takes_the_steps_of_adamw(tiny_folder, tmp_path, monkeypatch):
    rows = [
        {
            "prompt_id": f"p{i}",
            "problem": f"{i}",
            "prompt": f"{i}\n",
            "gold": "2",
            "verifier": "integer",
            "worked_solution": f"{i}+1={i + 1}",
            "source_index": i,
        }
        for i in range(8)
    ]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    settings = {
        "source": {"kind": "local", "path": str(tiny_folder)},
        "warm_start": WARM_START,
        "torch_threads": 1,
        "chat_template": False,
        "system_prompt": None,
        "max_prompt_tokens": 16,
    }
    made, load = [], reference.make_policy

    def watch(*arguments):
        policy = load(*arguments)
        made.append(WatchedAlone(policy.model))
        return policy

    monkeypatch.setattr(reference, "make_policy", watch)
    policy, _ = reference.prepare_reference(ReferenceSettings(**settings), str(tmp_path / "d.parquet"), "cpu")
    (watched,) = made
    watched.weights.append(flat(policy.model.parameters()))
    # Warm-up, the peak, and half of it where half of the cosine is left. Its epsilon is AdamW's usual one.
    how = {"betas": (0.7, 0.8), "eps": 1e-8, "decay": 0.3, "longest": 0.05}
    others = [one for one in DEFAULTS if "eps" not in one]
    assert_adamw(watched, [0.01, 0.02, 0.02, 0.01], how, [*others, {"eps": 1e-3}])


class WatchedAlone(Watched):
    """With one backward pass a step: the next one's gradients end it."""

    def __init__(self, module):
        super().__init__(module)
        self.weights = []

    def _keep(self, index):
        def keep(parameter):
            self.newest[index] = parameter.grad.clone()
            if len(self.newest) == len(self.parameters):
                self.step_is_made()  # keeps the weights that the pass was made with
                self.newest.clear()

        return keep
