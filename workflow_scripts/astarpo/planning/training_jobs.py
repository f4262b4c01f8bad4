"""Trainings: memory and the seconds of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from astarpo.common.cards import Card
from astarpo.common.machine import MachineSettings
from astarpo.config.methods import Run
from astarpo.config.policies import trainings
from astarpo.config.runs import Config
from astarpo.config.stages.table import find_stage
from astarpo.memory.shape import ModelShape
from astarpo.memory.workload import Workload
from astarpo.objectives import METHODS, takes_old_from_update
from astarpo.planning.jobs import PUSH_S, Job, Sampler, Seconds, added, prompt_tokens
from astarpo.planning.roofline import Tokens, exchange_s, forward_s, step_s, update_s
from astarpo.planning.sizes import name_of_model, rows_of, shape_of_reference
from astarpo.training.memory import estimate, remedies, workload_of
from astarpo.training.settings import TrainSettings


def training_jobs(config: Config, card: Card | None) -> list[Job]:
    """Describe every training of a configuration.

    Args:
        config: checked.
        card: of the machine; None without one.
    """
    counts: dict[str, int] = {}
    for run, _ in trainings(config):
        counts[run] = counts.get(run, 0) + 1
    return [training_job(config, name, card, count) for name, count in counts.items()]


def training_job(config: Config, name: str, card: Card | None, count: int) -> Job:
    """Describe a run's trainings.

    Args:
        config: checked.
        name: of the run.
        card: of the machine; None without one.
        count: of its seeds.
    """
    run, machine = config.runs[name], config.machine.settings()
    settings = find_stage("train_policy").settings(config, {"run": name, "seed": str(run.seeds[0])})
    assert isinstance(settings, TrainSettings)
    reference = config.references[run.reference]
    shape, cards = shape_of_reference(reference), config.machine.training_gpus(run.pipeline is not None)
    common = ("training", name, name_of_model(reference.source), count, cards)
    if shape is None:
        return Job(*common, None)
    processes = machine.devices * machine.nodes
    total = 0.0 if card is None or machine.device == "cpu" else card.total_bytes
    work = workload_of(settings, shape)
    step = _Step(shape, settings, machine, work, card if machine.device != "cpu" else None)
    return Job(
        *common,
        estimate(shape, settings, machine, processes, None, total),
        step.seconds(),
        per_step=True,
        steps=run.steps,
        once=added(step.sampler.start_s, _validations_s(config, run, step)),
        cache=step.sampler.small_cache(settings.prompting.max_prompt_tokens, settings.sampling.max_new_tokens),
        nodes=machine.nodes,
        remedies=lambda: remedies(shape, settings, machine, processes, None, total),
    )


def _validations_s(config: Config, run: Run, step: _Step) -> float | None:
    """Seconds of all validations: before the first step, and at each multiple of ``validate_every``."""
    if run.validation is None:
        return 0.0
    rows, _ = rows_of(config.datasets[run.validation])
    each = step.sampler.seconds(rows / step.processes, step.prompt, step.settings.sampling.max_new_tokens)
    return None if each is None else (1 + run.steps // run.validate_every) * each


@dataclass(frozen=True)
class _Step:
    """A step of a training on one rank."""

    shape: ModelShape
    settings: TrainSettings
    machine: MachineSettings
    work: Workload
    card: Card | None

    @property
    def processes(self) -> int:
        return self.machine.devices * self.machine.nodes

    @property
    def prompt(self) -> float:
        return prompt_tokens(self.settings.prompting.max_prompt_tokens)

    @property
    def sampler(self) -> Sampler:
        """What draws the training's responses, beside its other models or, ahead of them, on a card of its own."""
        settings, beside = self.settings, not self.work.draws_ahead
        longest = settings.prompting.max_prompt_tokens + settings.sampling.max_new_tokens
        engine, precision = settings.sampling_engine, settings.precision
        return Sampler(self.shape, self.machine, self.card, engine, precision, longest, beside)

    def tokens(self) -> Tokens:
        """The share of a rank; micro-batches as of rows of mean length without padding."""
        work, machine = self.work, self.machine
        rows = work.prompts * work.responses_per_prompt / self.processes
        mean, updates = self.settings.sampling.max_new_tokens / 2, work.updates_per_rollout
        of_update = rows / updates
        cuts = of_update / machine.micro_batch
        if machine.micro_batch_tokens is not None:
            cuts = max(cuts, of_update * (self.prompt + mean) / machine.micro_batch_tokens)
        most = of_update / (work.responses_per_prompt if work.keeps_groups else 1)  # longer rows pass one by one
        return Tokens(rows, self.prompt, mean, updates * max(1, math.ceil(min(cuts, most))))

    def seconds(self) -> Seconds:
        """By phase, as `training.metrics` names them."""
        names = ("generate", "reference", "update", "step")
        if self.card is None or not self.shape.layers:
            return dict.fromkeys(names)
        work, tokens, kind = self.work, self.tokens(), self.work.kind
        drawn = self.sampler.seconds(tokens.rows, self.prompt, self.settings.sampling.max_new_tokens)
        once = forward_s(self.shape, self.card, kind, tokens)
        again, frozen = self.machine.activation_checkpointing, work.adapters is not None
        update = update_s(self.shape, self.card, kind, tokens, again, frozen)
        trained = self.shape.parameters if work.adapters is None else work.adapters
        exchanged = exchange_s(self.card, trained, self.processes, self.machine.zero_stage, tokens.micro_batches)
        if work.critic:
            critic = update_s(self.shape, self.card, kind, tokens, again)
            update, trained = added(update, critic), trained + self.shape.body
        spread = self.processes if self.machine.zero_stage else 1
        stepping = step_s(self.card, trained * work.updates_per_rollout, spread)
        pushed = PUSH_S if work.sampling_engine == "vllm" else 0.0
        generate, trained_s = (
            added(drawn, pushed),
            {
                "reference": None if once is None else once * self._passes_without_gradient(),
                "update": added(update, exchanged),
                "step": stepping,
            },
        )
        if work.draws_ahead and generate is not None:  # what remains to wait for
            generate = max(0.0, generate - sum(one for one in trained_s.values() if one is not None))
        return {"generate": generate, **trained_s}

    def _passes_without_gradient(self) -> int:
        """As in `training.rollout_scoring.make_passes`."""
        name = self.settings.method
        method = METHODS[name]
        from_update = takes_old_from_update(name, self.work.updates_per_rollout)
        needs_iterate = method.needs_old_log_probs or method.anchor == "iterate"
        iterate = needs_iterate and not from_update and not self.work.draws_ahead  # then its sampler has them
        return 1 + sum((iterate, method.anchor == "lagged", method.needs_critic))
