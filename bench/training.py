"""A training in the order of the loop, with made-up responses: load, sample, pass without gradient, update, export."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

if TYPE_CHECKING:
    from astarpo.common.machine import MachineSettings
    from astarpo.model.world import World
    from astarpo.training.engine import TorchEngine
    from astarpo.training.rollouts import Responses
    from astarpo.training.settings import TrainSettings


def train(
    folder: Path,
    settings: TrainSettings,
    machine: MachineSettings,
    world: World,
    prompt_tokens: int,
    phase: Callable[[str], Any],
    out: Path,
) -> None:
    """Do two steps of a training, each in the phases of the loop.

    Args:
        folder: of the model.
        settings, machine, world: of the training.
        prompt_tokens: of every prompt; responses have ``max_new_tokens``.
        phase: called as ``with phase(name)`` around each part.
        out: folder for the exported model.
    """
    from astarpo.training.job import _exportable, make_engine

    with phase("load"):
        engine, sampled = make_engine(folder, settings, machine, world, seed=0)
    drawn = responses(settings, prompt_tokens, sampled.model.config.vocab_size)
    for number in range(2):
        if number:  # once is enough: now the optimizer has its states
            with phase("generate"):
                sample(engine, sampled, folder, settings, machine, drawn)
        update(engine, settings, drawn, number, phase)
    with phase("export"):
        weights = engine.full_weights()
        if world.is_first:
            policy, whole = _exportable(engine.policy, folder, settings.lora, False, weights)
            policy.save(out, whole)


def responses(settings: TrainSettings, prompt_tokens: int, vocabulary: int) -> Responses:
    """Random prompts and responses, all of full length, with random grades."""
    from astarpo.rewards.grading import Grade
    from astarpo.sampling import Completion
    from astarpo.training.prompts import TrainingPrompt
    from astarpo.training.rollouts import Responses

    rng, size = random.Random(0), settings.responses_per_prompt

    def ids(count: int) -> list[int]:
        return [rng.randrange(2, vocabulary) for _ in range(count)]

    prompts = [
        TrainingPrompt(str(n), ids(prompt_tokens), "", "integer", 0.5) for n in range(settings.prompts_per_batch)
    ]
    repeated = [prompt for prompt in prompts for _ in range(size)]
    answers = [ids(settings.sampling.max_new_tokens) for _ in repeated]
    return Responses(
        repeated,
        [n // size for n in range(len(repeated))],
        [Completion(answer, "", "length", 0.0, [0.0] * len(answer)) for answer in answers],
        [Grade(float(rng.random() < 0.5), "correct", None) for _ in repeated],
    )


def sample(
    engine: TorchEngine,
    sampled: Any,
    folder: Path,
    settings: TrainSettings,
    machine: MachineSettings,
    drawn: Responses,
) -> None:
    """Draw the first tokens of this process's share of the responses."""
    from astarpo.sampling.engines import make_sampler
    from astarpo.training.rollouts import requests_for

    longest = len(drawn.prompts[0].token_ids) + settings.sampling.max_new_tokens
    sampler: Any = make_sampler(
        "transformers", folder, sampled, machine, precision=settings.precision, longest=longest, trained=True
    )
    sampler.end_token_ids = [0]
    size = settings.responses_per_prompt
    mine = engine.world.share(drawn.prompts[::size])
    with engine.sampling_weights():
        sampler.sample(requests_for(mine, size, (0,)), settings.sampling)


def update(
    engine: TorchEngine, settings: TrainSettings, drawn: Responses, number: int, phase: Callable[[str], Any]
) -> None:
    """Make the passes of a rollout and one optimizer step."""
    from astarpo.objectives import build_loss, build_prepare
    from astarpo.training.phases import PhaseClock
    from astarpo.training.rollout_scoring import build_rollout, make_passes
    from astarpo.training.running_statistics import RunningStatistics

    statistics = RunningStatistics(drawn.prompts, settings.hyperparameters)
    with phase("reference"):
        engine.synchronise()
        passes = make_passes(engine, settings, drawn, range(len(drawn.prompts)), PhaseClock())
        rollout = build_rollout(settings, drawn, passes, statistics)
    targets = build_prepare(settings.method, settings.hyperparameters)(rollout)
    loss = build_loss(settings.method, settings.hyperparameters, settings.sampling.max_new_tokens)
    with phase("update"):
        engine.update(passes.all_micro_batches, targets, passes.reference_BT, loss, number)
