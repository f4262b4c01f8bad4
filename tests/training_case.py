"""A training small enough for a test: a random model, sixteen prompts, four steps, rewards that differ."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from astarpo.common.machine import MachineSettings
from astarpo.data.settings import PromptSettings
from astarpo.model.world import World
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training import loop
from astarpo.training.job import make_engine
from astarpo.training.loop import Trainer
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollout_scoring import Passes
from astarpo.training.rollouts import Responses
from astarpo.training.settings import TrainSettings

SETTINGS = TrainSettings(
    method="a_star_po",
    hyperparameters={"beta2": 0.1},
    steps=4,
    max_generated_tokens=None,
    prompts_per_batch=8,
    responses_per_prompt=1,
    updates_per_rollout=1,
    lr=1e-3,
    lr_schedule="linear",
    lr_warmup_steps=1,
    adam_betas=(0.9, 0.99),
    adam_eps=1e-8,
    weight_decay=0.01,
    max_grad_norm=1.0,
    entropy_coefficient=0.0,
    validate_every=2,
    lora=None,
    engine="torch",
    precision="float32",
    torch_threads=1,
    compile_model=False,
    log_prob_chunk_tokens=2,
    sampling_engine="transformers",
    max_sampler_gap=1e-3,
    sampling=SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8),
    prompting=PromptSettings(chat_template=False, system_prompt=None, max_prompt_tokens=32),
    grading=GradingSettings(
        truncated="as_judged", max_null_rate=1.0, min_nulls=20, timeout_s=60.0
    ),  # of a busy machine, too
)
MACHINE = MachineSettings(
    device="cpu",
    devices=1,
    nodes=1,
    micro_batch=2,
    sampling_batch=8,
    checkpoint_every=1,
    grading_workers=1,
    max_minutes=None,
    trackers=(),
)
# A random model is never right, so its answers are judged by something that it has no part in.
VARIED = f"{Path(__file__).parent / 'varied_verifier.py'}:varied"
LEAST_GRADIENT = 1e-4  # far above rounding; a gradient below it teaches nothing


class CheckedTrainer(Trainer):
    """A trainer that keeps what each step drew, and fails where that step could not teach the policy anything.

    Attributes:
        drawn: what each step drew, with its grades.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.drawn: dict[int, Responses] = {}

    def _rollout(self, prompts: Any, step: int, clock: Any) -> tuple[Responses, Passes]:
        self.drawn[step], passes = super()._rollout(prompts, step, clock)
        return self.drawn[step], passes

    def _step(self, step: int) -> dict[str, Any]:
        metrics = super()._step(step)
        assert metrics["grad_norm"] > LEAST_GRADIENT, f"step {step} has no gradient"
        groups = rewards_by_group(self.drawn[step])
        assert len(set().union(*groups)) > 1, f"all responses of step {step} have one reward"
        if self.settings.responses_per_prompt > 1:
            assert any(len(set(group)) > 1 for group in groups), f"step {step}: no group differs"
        return metrics


def rewards_by_group(drawn: Responses) -> list[list[float]]:
    """Rewards of each prompt's responses, null ones left out."""
    found: dict[int, list[float]] = defaultdict(list)
    for group, graded in zip(drawn.group_ids, drawn.grades, strict=True):
        if graded.reward is not None:
            found[group].append(graded.reward)
    return list(found.values())


def end_often(policy: Any) -> None:
    """Let every eighth token end a response; a random model hardly ever draws the only one there is."""
    policy.end_token_ids[:] = sorted({*policy.end_token_ids, *range(10, 259, 8)})


def prompts(policy: Any, count: int = 16, verifier: str = VARIED) -> list[TrainingPrompt]:
    """Prompts of different length with different values."""
    return [
        TrainingPrompt(
            f"p{i}",
            policy.tokenizer("1+" * (i % 3) + f"{i}\n")["input_ids"],
            "1",
            verifier,
            i / count,
            n=4,
            n_correct=i % 5,
        )
        for i in range(count)
    ]


def trainer(
    folder: Path,
    seed: int = 0,
    machine: MachineSettings = MACHINE,
    verifier: str = VARIED,
    **changes: Any,
) -> CheckedTrainer:
    """A trainer that starts from the model folder."""
    settings = SETTINGS.changed(**changes)
    engine, policy = make_engine(Path(folder), settings, machine, World(), seed)
    end_often(policy)
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, machine.sampling_batch)
    some = prompts(policy, verifier=verifier)
    return CheckedTrainer(engine, sampler, some, some[:2], settings, machine, seed)


def deepspeed_trainer(
    folder: str | Path, world: World, settings: TrainSettings, machine: MachineSettings
) -> CheckedTrainer:
    """The same with the engine, and the sampler, that the settings name."""
    from astarpo.sampling.engines import make_sampler

    engine, sampled = make_engine(Path(folder), settings, machine, world, seed=0)
    for policy in (engine.policy, sampled):
        end_often(policy)
    sampler = make_sampler(
        settings.sampling_engine,
        folder,
        sampled,
        machine,
        precision=settings.precision,
        longest=48,
        trained=True,
    )
    some = prompts(sampled)
    return CheckedTrainer(engine, sampler, some, some[:2], settings, machine, 0)


def run_until(made: Trainer, step: int, scratch: Path) -> None:
    """Run a training as if it ended after a step, with a checkpoint from which another one can go on."""
    ending = mock.patch.object(loop, "ending", lambda rows, _: "steps" if rows[-1]["step"] >= step else None)
    with ending:
        made.run(scratch)
    assert made.history.metrics[-1]["step"] == step


def kill_at(made: Trainer, step: int, scratch: Path) -> None:
    """Run a training that dies when it begins a step, as if it were killed."""
    original = made._step

    def die(number: int) -> Any:
        if number == step:
            raise KeyboardInterrupt
        return original(number)

    with mock.patch.object(made, "_step", die), pytest.raises(KeyboardInterrupt):
        made.run(scratch)


def weights(made: Trainer) -> Any:
    """All weights as one vector."""
    import torch

    return torch.cat([p.detach().reshape(-1) for p in made.engine.policy.model.parameters()])


def remember_weights(made: Trainer) -> dict[int, Any]:
    """Step -> the trainer's weights after it, filled in as it trains."""
    weights_after: dict[int, Any] = {}
    step_of = made._step

    def step(number: int) -> Any:
        metrics = step_of(number)
        weights_after[number] = weights(made).clone()
        return metrics

    made._step = step
    return weights_after
