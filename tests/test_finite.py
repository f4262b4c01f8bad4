"""Numbers that are not finite: noticed before a step, before weights are saved, and explained by the training."""

import re

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.model.finite import FiniteLogProbs, check_weights, clip_gradients
from astarpo.model.loading import load_policy


def test_gradients_are_clipped_to_the_norm_which_is_returned():
    first, second = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert clip_gradients([first, second], 1.0) == 5.0
    assert (first.grad.item(), second.grad.item()) == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_is_refused(number):
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.tensor([1.0, number])
    with pytest.raises(FloatingPointError, match=f"the gradient's norm is {number}"):
        clip_gradients([weight], 1.0)


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_log_probs_of_several_passes_are_checked_together(number):
    passes, weight = FiniteLogProbs(), torch.zeros(1, requires_grad=True)
    passes.add(torch.tensor([-1.0, number]))
    passes.add(torch.tensor([-2.0]))
    with pytest.raises(FloatingPointError, match="log-probability that is not finite"):
        passes.check()
    passes.check()  # each pass is checked once
    weight.grad = torch.ones(1)
    passes.add(torch.tensor([-1.0]))
    assert clip_gradients([weight], 9.0, passes) == 1.0
    passes.add(torch.tensor([number]))
    with pytest.raises(FloatingPointError, match="log-probability that is not finite"):
        clip_gradients([weight], 9.0, passes)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_counted(number):
    weights = {"a": torch.ones(3), "steps": torch.tensor(7), "empty": torch.zeros(0), "largest": torch.full((9,), 3e38)}
    check_weights(weights)
    wrong = torch.ones(1500)
    wrong[[2, 5]] = number
    with pytest.raises(FloatingPointError, match="2 of the 1,500 numbers of b are not finite"):
        check_weights({**weights, "b": wrong})


def test_such_a_model_is_not_saved(tiny_folder, tmp_path):
    policy = load_policy(tiny_folder)
    weights = dict(policy.model.state_dict())
    name = next(iter(weights))
    weights[name] = weights[name].clone()
    weights[name].view(-1)[0] = float("nan")
    with pytest.raises(InputError, match=f"the model is not saved to .*/m: 1 of the [0-9,]* numbers of {name}"):
        policy.save(tmp_path / "m", weights)
    assert not (tmp_path / "m").exists()


def broken_by_the_first_step(folder, value):
    """A training whose first optimizer step leaves a weight with the given value: a step that was too long."""
    made = case.trainer(folder)
    step = made.engine._step
    weights = made.engine.policy.model.state_dict()
    name = next(name for name in reversed(weights) if "norm" in name)

    def step_too_far() -> float:
        norm = step()
        weights[name][0] = value
        return norm

    made.engine._step = step_too_far
    return made


def test_a_training_whose_weights_overflow_says_so_and_leaves_no_checkpoint(tiny_folder, tmp_path):
    made = broken_by_the_first_step(tiny_folder, float("inf"))
    with pytest.raises(InputError, match=r"diverged at step 1: 1 of the .* there is no checkpoint of an earlier step"):
        made.run(tmp_path)
    assert not list(tmp_path.glob("step-*"))


def test_a_training_whose_logits_overflow_names_the_step_and_the_checkpoints(tiny_folder, tmp_path):
    made = broken_by_the_first_step(tiny_folder, 3e38)
    scratch = tmp_path / "sums-grpo/seed-3/0123456789abcdef/world-1"
    scratch.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        made.run(scratch)
    assert re.fullmatch(
        r"the training of sums-grpo seed-3 diverged at step 2: token \d+ of a response has a log-probability that is "
        r"not finite\. The same settings would diverge again: lower lr or max_grad_norm, or lengthen lr_warmup_steps; "
        rf"the last good checkpoint is {scratch}/step-000001",
        str(caught.value),
    )
    assert [path.name for path in scratch.glob("step-*")] == ["step-000001"]


def test_a_reference_that_computes_no_finite_logits_is_named_before_the_first_step(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder)
    made.engine.policy.model.model.norm.weight.data[0] = 3e38
    with pytest.raises(InputError, match=r"before the first step: token \d+ .* the reference's weights are unusable"):
        made.run(tmp_path)
