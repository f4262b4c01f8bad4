"""Rollouts one step off: drawn in a second process, with the weights from before the last update."""

from __future__ import annotations

import copy
import math
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.memory.parts import AHEAD
from astarpo.memory.sampling import drawing
from astarpo.memory.shape import ModelShape
from astarpo.memory.training import training
from astarpo.memory.workload import Workload
from astarpo.model.world import World
from astarpo.objectives import METHODS, build_loss
from astarpo.objectives.loss_terms import importance_weights
from astarpo.sampling.follower import MakeFollower
from astarpo.sampling.second_process import SamplerProcess
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training.job import make_engine
from astarpo.training.rollouts import requests_for
from astarpo.training.settings import Pipeline

LAG = Pipeline(lag=1)
GRPO = {
    "clip": 0.2,
    "clip_high": 0.2,
    "kl_coefficient": 0.0,
    "average": "tokens",
    "scale_by_std": True,
    "std_epsilon": 0.1,
}


@pytest.fixture
def made(tiny_folder: Path) -> Iterator[Any]:
    """A function that makes trainers of `training_case` which draw ahead; their processes end with the test."""
    with ExitStack() as processes:

        def make(pipeline: Pipeline = LAG, machine: MachineSettings = case.MACHINE, **changes: Any) -> Any:
            settings = case.SETTINGS.changed(pipeline=pipeline.model_dump(), **changes)
            engine, policy = make_engine(tiny_folder, settings, machine, World(), 0)
            case.end_often(policy)
            follower = MakeFollower(
                tiny_folder, policy.end_token_ids, False, "transformers", settings.precision, 64, machine
            )
            weights = dict(policy.model.named_parameters())
            sampler = processes.enter_context(SamplerProcess(follower, weights, "cpu"))
            prompts = case.prompts(policy)
            return case.CheckedTrainer(engine, sampler, prompts, prompts[:2], settings, machine, 0)

        yield make


def tokens(completions: Any) -> list[list[int]]:
    return [one.token_ids for one in completions]


def deterministic(history: Any) -> Any:
    return repr(history.metrics), repr(history.rollouts)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_each_rollout_is_drawn_by_the_policy_before_the_last_update(made, tmp_path, precision):
    trainer = made(lr=0.05, precision=precision, max_sampler_gap=None)
    start = copy.deepcopy(trainer.engine.policy)
    after = case.remember_weights(trainer)
    after[0] = case.weights(trainer).clone()
    trainer.run(tmp_path)
    sampler = TransformersSampler(start.model, start.tokenizer, start.end_token_ids, 8)
    for step in range(1, 5):
        for age in (1, 2):
            torch.nn.utils.vector_to_parameters(after[max(0, step - age)], start.model.parameters())
            asked = requests_for(trainer._prompts_of(step), 1, (0, "train", step))
            same = tokens(sampler.sample(asked, case.SETTINGS.sampling)) == tokens(trainer.drawn[step].completions)
            # Of age 1 it would be without a pipeline; the first two rollouts come from the reference.
            assert same == (age == 2 or step == 1), (step, age)


def test_how_stale_a_rollout_is_can_be_read_off_the_gaps(made, tmp_path):
    trainer = made(lr=0.05)
    after = case.remember_weights(trainer)
    gaps = [row["sampler_gap_signed_mean"] for row in trainer.run(tmp_path).metrics]
    assert abs(gaps[1]) < 1e-5  # drawn by the policy that it updates
    drawn, policy = trainer.drawn[3], copy.deepcopy(trainer.engine.policy.model)
    torch.nn.utils.vector_to_parameters(after[2], policy.parameters())
    differences: list[float] = []
    for prompt, one in zip(drawn.prompts, drawn.completions, strict=True):
        logits_SV = policy(input_ids=torch.tensor([[*prompt.token_ids, *one.token_ids]])).logits[0]
        log_probs_SV = logits_SV.log_softmax(-1)[len(prompt.token_ids) - 1 : -1]
        now = [log_probs_SV[place, token].item() for place, token in enumerate(one.token_ids)]
        differences += [ours - theirs for ours, theirs in zip(now, one.log_probs, strict=True)]
    assert gaps[3] == pytest.approx(sum(differences) / len(differences), rel=1e-3)
    assert abs(gaps[3]) > 1e-3


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_training_killed_and_resumed_ends_as_it_would_have(made, tmp_path, stop_after):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
    whole = made(lr=0.05, validate_every=1)
    expected = deterministic(whole.run(folders[0]))
    case.kill_at(made(lr=0.05, validate_every=1), stop_after + 1, folders[1])
    resumed = made(lr=0.05, validate_every=1)
    assert deterministic(resumed.run(folders[1])) == expected
    assert torch.equal(case.weights(whole), case.weights(resumed))


def test_ratios_are_to_the_policy_that_drew(made):
    how = {"method": "grpo", "hyperparameters": GRPO, "responses_per_prompt": 2, "prompts_per_batch": 4, "lr": 0.05}
    trainer = made(**how)
    told, prepare = [], trainer.prepare
    trainer.prepare = lambda rollout: told.append(rollout) or prepare(rollout)
    with trainer.grader:
        trainer._step(1), trainer._step(2)
    # Before the second step the policy has moved, and its own log-probabilities are others.
    _, rollout = told
    for row, one in enumerate(trainer.drawn[2].completions):
        assert rollout.old_log_probs_BT[row, : len(one.log_probs)].tolist() == pytest.approx(one.log_probs, abs=1e-6)
    assert not rollout.old_from_update


def test_importance_weights_by_hand():
    log_probs_BT = torch.tensor([[-1.0, -2.0, 9.0], [-1.0, -1.0, -1.0]], requires_grad=True)
    sampled_BT = torch.tensor([[-1.5, -2.25, 0.0], [-1.0, -0.5, -0.75]])
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    weights_B = importance_weights(log_probs_BT, sampled_BT, mask_BT, 2.0)
    assert weights_B.tolist() == pytest.approx([2.0, math.exp(-0.75)])  # exp(0.75) = 2.117 is cut off
    assert not weights_B.requires_grad
    assert importance_weights(log_probs_BT, sampled_BT, mask_BT, 3.0)[0].item() == pytest.approx(math.exp(0.75))


@pytest.mark.parametrize(
    ("method", "own"), [("a_star_po", {"beta2": 0.5}), ("reinforce", {"beta2": 0.5, "kl_in_reward": True})]
)
def test_each_response_weighs_as_much_as_its_importance(method, own):
    assert METHODS[method].takes_importance
    sampled_BT = torch.tensor([[-1.5, -2.25], [-0.5, -1.0]])
    mask_BT = torch.ones(2, 2, dtype=torch.bool)
    targets = {"advantage_B": torch.tensor([1.0, -0.5]), "anchor_log_prob_B": torch.tensor([-3.0, -1.0])}

    def gradient(loss: Any, targets: Any, rows: list[int]) -> Any:
        log_probs_BT = torch.tensor([[-1.0, -2.0], [-1.0, -1.0]], requires_grad=True)
        mine = {name: value[rows] for name, value in targets.items()}
        loss(log_probs_BT[rows], mask_BT[rows], mine, 2)[0].backward()
        return log_probs_BT.grad

    plain, weighted = build_loss(method, own), build_loss(method, own, importance_cap=2.0)
    found = gradient(weighted, {**targets, "sampled_BT": sampled_BT}, [0, 1])
    expected = 2.0 * gradient(plain, targets, [0]) + math.exp(-0.5) * gradient(plain, targets, [1])
    assert torch.allclose(found, expected)


def test_the_cap_reaches_the_loss(made):
    losses = []
    for cap in (None, 1e-3):
        trainer = made(Pipeline(lag=1, importance_cap=cap))
        with trainer.grader:
            losses.append(trainer._step(1)["loss"])
    assert losses[1] == pytest.approx(1e-3 * losses[0], rel=1e-3)  # the weights of the first step are 1, without a cap


def test_a_second_process_that_dies_is_said(made, tmp_path):
    trainer = made()
    os.kill(trainer.sampler._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"process that draws responses has ended with exit status -9"):
        trainer.run(tmp_path)


def test_a_second_process_that_dies_while_it_draws_is_said(made):
    trainer = made()
    begun = trainer.sampler.begin(requests_for(trainer.prompts, 1000, (0,)), case.SETTINGS.sampling)
    os.kill(trainer.sampler._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="process that draws responses has ended"):
        begun.result()


def test_a_model_that_the_second_process_cannot_load_is_said(tmp_path):
    make = MakeFollower(tmp_path / "nothing", [0], False, "transformers", "float32", 64, case.MACHINE)
    with pytest.raises(InputError, match="nothing"):
        SamplerProcess(make, {"weight": torch.zeros(1)}, "cpu")


SHAPE = ModelShape(
    layers=2, hidden=64, intermediate=128, heads=4, kv_heads=2, head_size=16, vocabulary=500, tied=True, parameters=9000
)
WORK = Workload(prompt_tokens=16, response_tokens=8, prompts=8)


def by_phase(work: Workload, machine: MachineSettings, device_bytes: float = 0.0) -> dict[str, dict[str, float]]:
    """The parts of the highest moment of each phase."""
    moments = training(SHAPE, work, machine, device_bytes=device_bytes).device
    return {one.phase: dict(one.parts) for one in sorted(moments, key=lambda one: one.total)}


def test_on_a_cpu_the_second_process_takes_memory_all_the_time():
    drawn = max(sum(one.values()) for one in drawing(SHAPE, "float32", 8, 16, 8))
    alone = by_phase(WORK, case.MACHINE)
    both = by_phase(replace(WORK, draws_ahead=True), case.MACHINE)
    del alone["generate"]
    assert both == {phase: {**parts, AHEAD: 4 * 9000 + drawn} for phase, parts in alone.items()}


def test_on_gpus_the_second_process_has_a_card_of_its_own():
    machine = case.MACHINE.changed(device="cuda")
    drawn = max(sum(one.values()) for one in drawing(SHAPE, "float32", 8, 16, 8))
    alone, both = by_phase(WORK, machine), by_phase(replace(WORK, draws_ahead=True), machine)
    assert both == {**alone, "generate": {AHEAD: 4 * 9000 + drawn}}
    with_vllm = replace(WORK, draws_ahead=True, sampling_engine="vllm")
    assert by_phase(with_vllm, machine, 1e9) == {**alone, "generate": {AHEAD: pytest.approx(0.9e9, rel=0.01)}}
    host = training(SHAPE, replace(WORK, draws_ahead=True), machine).host
    assert all(one.parts[AHEAD] == 4 * 9000 for one in host) and len(host) == 3
