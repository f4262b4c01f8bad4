"""Stage 1's samples, evaluations and warm starts: memory and seconds."""

from __future__ import annotations

from collections.abc import Iterator

from astarpo.common.cards import Card
from astarpo.common.machine import MachineSettings
from astarpo.config.policies import benchmarks_of, policies, reference_of
from astarpo.config.runs import Config
from astarpo.config.samples import drawn_blocks, sampling_of
from astarpo.config.schema import ReferenceEntry
from astarpo.memory.check import Remedies
from astarpo.memory.parts import Estimate
from astarpo.memory.shape import ModelShape
from astarpo.memory.stages import fewer_at_a_time, sampling_estimate, states_estimate
from astarpo.planning.jobs import Job, Sampler, added, prompt_tokens
from astarpo.planning.sizes import name_of_model, rows_of, shape_of_reference


def warm_start_jobs(config: Config) -> Iterator[Job]:
    """Describe the warm starts, of which only the memory of weights and optimizer is known before they run."""
    for name, entry in config.references.items():
        shape = shape_of_reference(entry)
        if entry.warm_start is not None:
            needs = None if shape is None else states_estimate(shape.parameters, entry.warm_start.precision)
            yield Job("warm start", name, name_of_model(entry.source), 1, config.machine.gpus(), needs)


def stage_one_jobs(config: Config, card: Card | None) -> Iterator[Job]:
    """Describe the jobs that sample from references.

    Args:
        config: checked.
        card: of the machine; None without one.
    """
    for (name, dataset), names in drawn_blocks(config).items():
        sampling, entry = sampling_of(config, dataset), config.references[name]
        rows, _ = rows_of(config.datasets[dataset])
        drawn = [(rows * sampling.block_size / sampling.prompt_shards, sampling.max_new_tokens)]
        yield _job(config, card, entry, ("stage 1", f"{name} on {dataset}", len(names)), drawn)


def evaluation_jobs(config: Config, card: Card | None) -> Iterator[Job]:
    """Describe the evaluations: one entry for all policies with the same reference and benchmarks.

    Args:
        config: checked.
        card: of the machine; None without one.
    """
    alike: dict[tuple[str, tuple[str, ...]], int] = {}
    for policy in policies(config):
        key = reference_of(config, policy), tuple(benchmarks_of(config, policy))
        alike[key] = alike.get(key, 0) + 1
    for (reference, benchmarks), count in alike.items():
        drawn = [
            (rows_of(config.benchmarks[name])[0] * protocol.k, protocol.max_new_tokens)
            for name in benchmarks
            for protocol in config.benchmarks[name].protocols.values()
        ]
        if drawn:
            title = f"{reference} and policies trained from it"
            yield _job(config, card, config.references[reference], ("evaluation", title, count), drawn)


def _job(
    config: Config,
    card: Card | None,
    entry: ReferenceEntry,
    titles: tuple[str, str, int],
    drawn: list[tuple[float, int]],
) -> Job:
    """Describe jobs that draw lists of responses, given as (number, longest), with one start of the engine."""
    stage, name, count = titles
    machine, shape = config.machine.settings(), shape_of_reference(entry)
    cards = config.machine.sampling_gpus(entry.sampling_engine)
    if shape is None:
        return Job(stage, name, name_of_model(entry.source), count, cards, None)
    device = card if machine.device != "cpu" else None
    longest = max(length for _, length in drawn)
    started_for = entry.max_prompt_tokens + longest
    sampler = Sampler(shape, machine, device, entry.sampling_engine, entry.precision, started_for)
    size = entry.max_prompt_tokens, longest, max(1, round(max(rows for rows, _ in drawn)))
    prompt = prompt_tokens(entry.max_prompt_tokens)
    return Job(
        stage,
        name,
        name_of_model(entry.source),
        count,
        cards,
        _estimate(shape, entry, machine, size, device),
        {
            "start": sampler.start_s,
            "generate": added(0.0, *(sampler.seconds(n, prompt, t) for n, t in drawn)),
        },
        cache=sampler.small_cache(entry.max_prompt_tokens, longest),
        remedies=lambda: _remedies(shape, entry, machine, size, device),
    )


def _estimate(
    shape: ModelShape,
    entry: ReferenceEntry,
    machine: MachineSettings,
    size: tuple[int, int, int],
    card: Card | None,
) -> Estimate:
    total = 0.0 if card is None else card.total_bytes
    return sampling_estimate(shape, machine, entry.precision, *size, entry.sampling_engine, total)


def _remedies(
    shape: ModelShape,
    entry: ReferenceEntry,
    machine: MachineSettings,
    size: tuple[int, int, int],
    card: Card | None,
) -> Remedies:
    if entry.sampling_engine == "vllm":
        for cards in (2, 4, 8):
            changed = machine.changed(sampler_tensor_parallel=cards)
            yield f"machine: {{sampler_tensor_parallel: {cards}}}", _estimate(shape, entry, changed, size, card)
        return
    yield from fewer_at_a_time(machine, lambda changed: _estimate(shape, entry, changed, size, card))
