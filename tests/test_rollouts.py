"""Rollouts: each response drawn with a seed of its own and judged by its own prompt; what is added up of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_case as case

from astarpo.rewards.grading import Grade, Grader
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling import Completion
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.stage_one.settings import EstimateSettings
from astarpo.training.metrics import step_metrics
from astarpo.training.phases import PhaseClock
from astarpo.training.prompts import TrainingPrompt, prompts_of_step
from astarpo.training.rollouts import Responses, draw_responses, requests_for
from astarpo.training.running_statistics import RunningStatistics

SAMPLING = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8)
# Right is a response whose length is odd or even, as the gold answer says.
PARITY = "def parity(gold, response):\n    return len(response.text) % 2 == int(gold)\n"


@pytest.fixture
def prompts(tiny_policy: Any, tmp_path: Path) -> list[TrainingPrompt]:
    """Four prompts, every other one with another gold answer."""
    (tmp_path / "parity.py").write_text(PARITY)
    made = case.prompts(tiny_policy, 4, f"{tmp_path / 'parity.py'}:parity")
    return [replace(prompt, gold=str(index % 2)) for index, prompt in enumerate(made)]


def test_each_response_is_its_own_and_judged_by_its_own_prompt(tiny_policy, prompts):
    sampler = TransformersSampler(tiny_policy.model, tiny_policy.tokenizer, tiny_policy.end_token_ids, 8)
    parts = (3, "train", 7)
    with Grader(GradingSettings(truncated="as_judged", max_null_rate=1.0, min_nulls=99), 1) as grader:
        drawn = draw_responses(sampler, prompts, 3, SAMPLING, grader, parts, PhaseClock())
    assert drawn.group_ids == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [prompt.prompt_id for prompt in drawn.prompts] == [f"p{group}" for group in drawn.group_ids]
    for group, prompt in enumerate(prompts):
        own = drawn.completions[3 * group : 3 * group + 3]
        alone = sampler.sample(requests_for([prompt], 3, parts), SAMPLING)
        assert [one.token_ids for one in own] == [one.token_ids for one in alone]
        assert len({tuple(one.token_ids) for one in own}) == 3
    rewards = [graded.reward for graded in drawn.grades]
    assert rewards == [
        float(len(completion.text) % 2 == int(prompt.gold))
        for prompt, completion in zip(drawn.prompts, drawn.completions, strict=True)
    ]
    assert 0 < sum(rewards) < 12


def test_the_seed_of_a_response_depends_on_purpose_prompt_and_index_alone(prompts):
    def seeds(some: list[TrainingPrompt], count: int, *parts: str | int) -> dict[Any, int]:
        asked = requests_for(some, count, parts)
        return {(one.prompt_id, one.sample_index): one.seed for one in asked}

    first = seeds(prompts, 2, 0, "train", 1)
    assert len(set(first.values())) == 8
    assert seeds(prompts[::-1], 2, 0, "train", 1) == first
    assert seeds(prompts, 3, 0, "train", 1).items() > first.items()
    for other in ((0, "train", 2), (1, "train", 1), (0, "validate", 1)):
        assert not set(seeds(prompts, 2, *other).values()) & set(first.values())


def test_rows_without_a_grade_or_a_partner_are_left_out():
    null, known = Grade(None, "timeout", None), Grade(1.0, "correct", "1")
    drawn = Responses([], [0, 0, 1, 1, 2, 2], [], [known, known, null, known, null, null])
    assert drawn.trainable_rows(2) == [0, 1]
    assert drawn.trainable_rows(1) == [0, 1, 3]


class Listener:
    """Notes what a real sampler is asked for."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.asked = sampler, list[list[Any]]()

    def sample(self, requests: Any, settings: Any, on_batch: Any = None) -> list[Completion]:
        self.asked.append(list(requests))
        return self.sampler.sample(requests, settings, on_batch)

    def weights_changed(self) -> None:
        self.sampler.weights_changed()

    def rest(self) -> None:
        self.sampler.rest()


def test_each_step_has_noise_of_its_own_and_every_validation_the_same(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, validate_every=1)
    made.sampler = listener = Listener(made.sampler)
    made.run(tmp_path)
    # Validation, the first look at the sampler's gap, then a rollout and a validation each step.
    first, _, *rest = [[(one.prompt_id, one.seed) for one in asked] for asked in listener.asked]
    rollouts, validations = rest[::2], rest[1::2]
    assert len(rollouts) == 4 and validations == [first] * 4
    # Sixteen prompts, eight a step: the second epoch begins with step 3.
    epochs = [dict(rollouts[0] + rollouts[1]), dict(rollouts[2] + rollouts[3])]
    assert epochs[0].keys() == epochs[1].keys() and len(epochs[0]) == 16
    assert not set(epochs[0].values()) & set(epochs[1].values())


def test_each_seed_has_an_order_of_its_own():
    orders = {tuple(prompts_of_step(20, 10, 1, seed)) for seed in range(5)}
    assert len(orders) == 5


TOKENS = {
    "clip": 0.2,
    "clip_high": 0.2,
    "kl_coefficient": 0.0,
    "scale_by_std": False,
    "std_epsilon": 0.0,
    "average": "tokens",
}


@pytest.mark.parametrize(
    ("method", "own", "normaliser"),
    [("a_star_po", {"beta2": 1e-3}, 3), ("grpo", {**TOKENS, "average": "sequences"}, 3), ("grpo", TOKENS, 7)],
)
def test_an_update_is_normalised_and_summed_over_all_its_micro_batches(tiny_folder, method, own, normaliser):
    """Three responses of 1, 4 and 2 tokens in two micro-batches, against the passes without gradient."""
    engine = case.trainer(tiny_folder, method=method, hyperparameters=own).engine
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for weight in engine.policy.model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    parts = engine.micro_batches([[5, 6], [7], [8]], [[9], [9, 8, 7, 6], [5, 4]], range(3))
    assert len(parts) == 2
    policy_BT, reference_BT = (engine.log_probs(which, parts, 3, 4) for which in ("policy", "reference"))
    given = []

    def loss(log_probs_BT: Any, mask_BT: Any, targets: Any, normaliser: float) -> Any:
        given.append(normaliser)
        return log_probs_BT.sum() / normaliser, {}

    sums = engine.update(parts, {}, reference_BT, loss, 0)
    assert given == [normaliser, normaliser] and (sums["sequences"], sums["tokens"]) == (3, 7)
    assert sums["loss"] == pytest.approx(float(policy_BT.sum()) / normaliser, rel=1e-5)
    ratio_B = (policy_BT - reference_BT).sum(-1)
    assert float(ratio_B.abs().min()) > 1e-3
    assert sums["log_ratio_squared"] == pytest.approx(float((ratio_B**2).sum()), rel=1e-4)


def test_metrics_of_a_step_by_hand():
    """Two updates of two sequences each; three of four grades are known."""
    grades = [
        Grade(1.0, "correct", "1"),
        Grade(0.0, "incorrect", "2"),
        Grade(None, "timeout", None),
    ]
    grades.append(Grade(0.0, "no_answer", None))
    lengths = (2, 4, 1, 3)
    completions = [Completion([5] * length, "", "length" if length == 4 else "stop", 0.0, []) for length in lengths]
    update = {
        "sequences": 2,
        "tokens": 5,
        "loss": 0.5,
        "entropy": 10.0,
        "log_ratio": 2.0,
        "log_ratio_squared": 4.0,
        "log_ratio_per_token": 0.8,
        "kl": 1.0,
        "kl_per_token": 0.4,
        "grad_norm": 3.0,
        "clipped": 1.0,
        "lr": 0.2,
        "value_loss": 5.0,
        "gap": 3.0,
    }
    second = {**update, "log_ratio": 0.0, "clipped": 0.0, "lr": 0.1}
    row = step_metrics(grades, completions, [update, second], {"value_loss": "tokens", "gap": "sequences"})
    expected = {
        "reward": 1 / 3,
        "loss": 0.5,
        "kl_per_token": 0.2,
        "kl_per_sequence": 0.5,
        "log_ratio": 0.5,
        "log_ratio_per_token": 0.4,
        "log_ratio_std": math.sqrt(8 / 4 - 0.25),
        "response_length": 2.5,
        "truncated_share": 0.25,
        "null_share": 0.25,
        "entropy": 2.0,
        "grad_norm": 3.0,
        "clip_fraction": 0.5,
        "lr": 0.1,
        "generated_tokens": 10,
        "trained_tokens": 10,
        "correct": 1,
        "incorrect": 1,
        "no_answer": 1,
        "timeout": 1,
        "error": 0,
        "value_loss": 1.0,
        "gap": 1.5,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_a_refreshed_value_uses_its_own_beta1_and_outlives_a_checkpoint():
    prompt = TrainingPrompt("p", [1], "1", "integer", 0.3, 4, 1)
    own = {"value_update": "running"}, EstimateSettings(beta1=0.5)

    def by_hand(correct: float) -> float:
        return 0.5 * math.log(1 + correct / 4 * (math.exp(2.0) - 1))

    statistics = RunningStatistics([prompt], *own)
    assert statistics.v_star(prompt) == pytest.approx(by_hand(1.0))
    statistics.learn([prompt], [1.0])
    assert statistics.v_star(prompt) == pytest.approx(by_hand(1.75))
    again = RunningStatistics([prompt], *own)
    again.load_state(statistics.state())
    assert again.v_star(prompt) == statistics.v_star(prompt)


def test_lagged_weights_outlive_a_checkpoint(tiny_folder):
    own = {"method": "oapl", "hyperparameters": {"beta1": 0.5, "beta2": 0.3, "sync_every": 9}}
    made, resumed = (case.trainer(tiny_folder, responses_per_prompt=2, **own) for _ in range(2))
    with made.grader:
        made._step(1)
        made.engine.synchronise()
        made._step(2)
    resumed.engine.load_state(made.engine.state())
    newest = case.weights(resumed).clone()
    assert torch.equal(newest, case.weights(made))
    with made.engine.sampling_weights(), resumed.engine.sampling_weights():
        lagged = case.weights(resumed).clone()
        assert torch.equal(lagged, case.weights(made)) and not torch.equal(lagged, newest)
