"""The scale kappa of V*: by hand, in the loop, from true score norms, and what the configuration refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import training_case as case
from config_case import DEFAULT

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.objectives import a_star_po, reinforce
from astarpo.objectives.rollout import Rollout
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.value_scale import ValueScale, surprisal_ratio

ADAPTIVE = {"value_scale": "adaptive", "value_scale_decay": 0.9, "score_norm": "surprisal", "score_norm_responses": 4}
PROMPTS = [
    TrainingPrompt("a", [1], "1", "integer", 0.5, 4, 1, surprisal_sum=10.0, surprisal_of_correct=2.0),
    TrainingPrompt("b", [1], "1", "integer", 0.25, 4, 2, surprisal_sum=6.0, surprisal_of_correct=3.0),
]


def test_the_scale_by_hand():
    """Stage 1: sum w r = 5, sum w V* = 10/2 + 6/4. A rollout of two then counts a tenth, all means by response."""
    scale = ValueScale(ADAPTIVE, PROMPTS)
    assert scale.factor == pytest.approx(5 / 6.5)
    scale.learn([4.0, 2.0], [0.0, 1.0], [0.5, 0.25])
    assert scale.factor == pytest.approx((0.9 * 5 / 8 + 0.1 * 2 / 2) / (0.9 * 6.5 / 8 + 0.1 * 2.5 / 2))


def test_the_surprisals_of_stage_one_get_the_mean_of_the_first_true_norms():
    """They have another unit: 400 beside 4 would leave nothing of stage 1, and 0.004 nothing of the rollout.

    16 nats of surprisal in 8 samples are 2 each; the first norms are 300 on average.
    """
    scale = ValueScale({**ADAPTIVE, "score_norm": "exact"}, PROMPTS)
    assert scale.factor == pytest.approx(5 / 6.5)
    scale.learn([400.0, 200.0], [0.0, 1.0], [0.5, 0.25])
    reward, value = 0.9 * 5 / 8 * 150 + 0.1 * 100, 0.9 * 6.5 / 8 * 150 + 0.1 * 125
    assert scale.factor == pytest.approx(reward / value)
    scale.learn([100.0], [1.0], [0.5])
    assert scale.factor == pytest.approx((0.9 * reward + 0.1 * 100) / (0.9 * value + 0.1 * 50))


def test_a_first_rollout_without_a_value_does_not_forget_stage_one():
    scale = ValueScale({**ADAPTIVE, "score_norm": "exact"}, PROMPTS)
    scale.learn([400.0, 200.0], [0.0, 0.0], [0.0, 0.0])
    assert scale.factor == pytest.approx(5 / 6.5)


@pytest.mark.parametrize("setting", [1.0, 0.35, 0.0])
def test_a_fixed_scale_learns_nothing(setting):
    scale = ValueScale({"value_scale": setting, "value_scale_decay": 0.9}, PROMPTS)
    scale.learn([4.0], [1.0], [0.5])
    assert scale.factor == setting


def test_a_method_without_the_setting_has_the_papers_scale():
    assert ValueScale({}, PROMPTS).factor == 1.0


def test_where_every_value_is_zero_the_scale_is_one_and_says_so(capsys):
    zero = [TrainingPrompt("a", [1], "1", "integer", 0.0, 4, 0, surprisal_sum=10.0, surprisal_of_correct=0.0)]
    scale = ValueScale(ADAPTIVE, zero)
    assert scale.factor == 1.0
    assert capsys.readouterr().out == "value_scale: adaptive starts at 1, because every V* is 0\n"
    scale.learn([4.0], [1.0], [0.0])
    assert scale.factor == 1.0


def test_samples_without_log_probabilities_leave_the_first_scale_at_one(capsys):
    imported = [TrainingPrompt("a", [1], "1", "integer", 0.5, 4, 1)]
    scale = ValueScale(ADAPTIVE, [*PROMPTS, *imported])
    assert scale.factor == 1.0
    assert "because samples have no log-probabilities" in capsys.readouterr().out
    scale.learn([4.0, 2.0], [0.0, 1.0], [0.5, 0.25])
    assert scale.factor == pytest.approx(2 / 2.5)


def test_the_state_outlives_a_checkpoint():
    scale, again = ValueScale(ADAPTIVE, PROMPTS), ValueScale(ADAPTIVE, [])
    scale.learn([4.0, 2.0], [0.0, 1.0], [0.5, 0.25])
    again.load_state(scale.state())
    for one in (scale, again):
        one.learn([3.0], [1.0], [0.5])
    assert again.factor == scale.factor and again.state() == scale.state()


@pytest.mark.parametrize("prepare", [a_star_po.prepare, lambda rollout: reinforce.prepare(rollout, baseline="v_star")])
def test_the_advantage_is_the_reward_minus_the_scaled_value(prepare):
    rollout = Rollout(
        ["a", "b"],
        torch.tensor([0, 1]),
        torch.ones(2, 1, dtype=torch.bool),
        None,
        torch.zeros(2, 1),
        torch.tensor([0.5, 0.25]),
        torch.tensor([1.0, 0.0]),
        value_scale=0.4,
    )
    assert prepare(rollout)["advantage_B"].tolist() == pytest.approx([0.8, -0.1])


def test_how_much_more_surprising_wrong_responses_are():
    assert surprisal_ratio([6.0, 2.0, 4.0], [0.0, 1.0, 0.0]) == 2.5
    assert surprisal_ratio([6.0, 2.0], [0.5, 1.0]) == pytest.approx(6.0 / ((3.0 + 2.0) / 1.5))
    assert surprisal_ratio([6.0, 2.0], [1.0, 1.0]) is None and surprisal_ratio([6.0], [0.0]) is None


def stepped(folder: Any, **changes: Any) -> case.CheckedTrainer:
    return case.trainer(folder, hyperparameters={"beta2": 0.1, **ADAPTIVE, **changes})


def test_a_rollout_is_scaled_by_the_ones_before_it(tiny_folder):
    """Stage 1 of these prompts has no log-probabilities: 1 in the first step; then what the first step drew."""
    trainer = stepped(tiny_folder)
    with trainer.grader:
        first, second = trainer._step(1), trainer._step(2)
    drawn = trainer.drawn[1]
    w = [-sum(one.log_probs) for one in drawn.completions]
    weighted = [x * one.reward for x, one in zip(w, drawn.grades, strict=True)]
    valued = [x * one.v_star for x, one in zip(w, drawn.prompts, strict=True)]
    assert first["value_scale"] == 1.0
    assert second["value_scale"] == pytest.approx(sum(weighted) / sum(valued))
    right = [x for x, one in zip(w, drawn.grades, strict=True) if one.reward]
    wrong = [x for x, one in zip(w, drawn.grades, strict=True) if not one.reward]
    ratio = (sum(wrong) / len(wrong)) / (sum(right) / len(right))
    assert first["surprisal_ratio"] == pytest.approx(ratio)
    mean = sum(one.reward for one in trainer.drawn[2].grades) / 8
    values = sum(one.v_star for one in trainer.drawn[2].prompts) / 8
    assert second["advantage"] == pytest.approx(mean - second["value_scale"] * values, abs=1e-6)


def plain_norm(model: torch.nn.Module, prompt: list[int], response: list[int], temperature: float = 1.0) -> float:
    """|grad ln pi(y|x)|^2 by plain transformers and autograd."""
    model.zero_grad(set_to_none=True)
    logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].float() / temperature
    torch.log_softmax(logits, -1)[range(len(response)), response].sum().backward()
    norm = sum(float(one.grad.double().square().sum()) for one in model.parameters() if one.grad is not None)
    model.zero_grad(set_to_none=True)
    return norm


def test_exact_weights_are_the_squared_norms_of_the_scores_before_the_update(tiny_folder):
    exact, twin = stepped(tiny_folder, score_norm="exact"), stepped(tiny_folder)
    with exact.grader, twin.grader:
        exact._step(1)
        twin.drawn[1] = exact.drawn[1]
        drawn = exact.drawn[1]
        norms = [
            plain_norm(twin.engine.policy.model, prompt.token_ids, one.token_ids)
            for prompt, one in zip(drawn.prompts[:4], drawn.completions[:4], strict=True)
        ]
        rewards = [one.reward for one in drawn.grades[:4]]
        values = [one.v_star for one in drawn.prompts[:4]]
        second = exact._step(2)
    assert len({len(one.token_ids) for one in drawn.completions[:4]}) > 1
    expected = sum(n * r for n, r in zip(norms, rewards, strict=True)) / sum(
        n * v for n, v in zip(norms, values, strict=True)
    )
    assert second["value_scale"] == pytest.approx(expected, rel=1e-4)


def refused(run: dict[str, Any], **machine: Any) -> str:
    raw = copy.deepcopy(DEFAULT)
    raw["runs"]["a-star-po"] |= run
    raw["machine"] |= machine
    with pytest.raises(InputError) as caught:
        load_config(raw)
    return str(caught.value)


@pytest.mark.parametrize("setting", [-0.1, "fitted", float("nan"), True])
def test_scales_that_are_no_scale_are_refused(setting):
    assert "runs.a-star-po.value_scale" in refused({"value_scale": setting})


def test_true_norms_need_an_adaptive_scale_and_whole_gradients():
    of_paper = {"score_norm": "exact", "value_scale": 1}
    assert "score_norm = 'exact': has no effect unless value_scale is" in refused(of_paper)
    run = {"score_norm": "exact", "value_scale": "adaptive", "engine": "deepspeed"}
    assert "score_norm = 'exact': needs engine 'torch'" in refused(run)


def test_a_baseline_without_values_has_no_scale():
    raw = copy.deepcopy(DEFAULT)
    run = {key: value for key, value in raw["runs"]["a-star-po"].items() if key not in ("value", "beta2")}
    raw["runs"]["none"] = {**run, "method": "reinforce", "baseline": "zero", "value_scale": "adaptive"}
    with pytest.raises(InputError, match=r"runs.none.value_scale = adaptive: needs a `value`"):
        load_config(raw)
