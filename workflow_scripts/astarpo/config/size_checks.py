"""Checks of sizes that must be consistent, within an entry or across entries used together."""

from __future__ import annotations

from collections.abc import Iterator

from astarpo.common.kinds import LEAST_DIVISOR
from astarpo.config.methods import GRPORun, PPORun, Run
from astarpo.config.runs import Config
from astarpo.config.schema import ReferenceEntry, TaskEntry, WarmStart
from astarpo.data.settings import GeneratedTask, HubData, LocalFile, MultiplesAbove
from astarpo.stage_one.settings import Scratch

RANGES = ("terms", "digits", "numbers")  # of generated problems: min_..., max_...


def size_errors(config: Config) -> Iterator[str]:
    """Find sizes that no stage could use, or that would leave a stage without work.

    Yields:
        One line per error: key, value, what is allowed.
    """
    for registry, entries in (("datasets", config.datasets), ("benchmarks", config.benchmarks)):
        for name, entry in entries.items():
            yield from _range_errors(f"{registry}.{name}", entry)
    for name, selection in config.selections.items():
        if selection.rule == "undecided" and selection.n < 2:
            yield (
                f"selections.{name}.n = {selection.n}: rule `undecided` keeps nothing with one sample per prompt; "
                "set n to 2 or more"
            )
    for name, reference in config.references.items():
        yield from _reference_errors(config, f"references.{name}", reference)
    for name, run in config.runs.items():
        yield from _run_errors(config, f"runs.{name}", run)


def _range_errors(key: str, entry: TaskEntry) -> Iterator[str]:
    for quantity in RANGES:
        source = dict(entry.source)
        low, high = source.get(f"min_{quantity}"), source.get(f"max_{quantity}")
        if low is not None and high is not None and low > high:
            yield f"{key}.source.min_{quantity} = {low}: must not be above max_{quantity} ({high})"
    if isinstance(entry.source, MultiplesAbove):
        span, largest = entry.source.span, entry.source.largest
        if span > largest:
            yield f"{key}.source.span = {span}: must not be above largest ({largest})"
        for factor in entry.source.factors:
            if factor > span:
                yield f"{key}.source.factors = {factor}: must not be above span ({span})"


def _reference_errors(config: Config, key: str, entry: ReferenceEntry) -> Iterator[str]:
    if isinstance(entry.source, Scratch):
        yield from _scratch_errors(f"{key}.source", entry.source)
        if entry.chat_template:
            yield f"{key}.chat_template = True: a model from scratch has no chat template; set it to false"
    if entry.warm_start is not None:
        yield from _warm_start_errors(config, f"{key}.warm_start", entry.warm_start)


def _scratch_errors(key: str, source: Scratch) -> Iterator[str]:
    if source.heads % source.kv_heads:
        yield f"{key}.kv_heads = {source.kv_heads}: must divide heads ({source.heads})"
    if source.hidden_size % source.heads:
        yield f"{key}.hidden_size = {source.hidden_size}: must be a multiple of heads ({source.heads})"
    elif source.hidden_size // source.heads % 2:
        size = source.hidden_size // source.heads
        yield (
            f"{key}.hidden_size = {source.hidden_size}: hidden_size / heads is {size}, but rotary embeddings need "
            "an even number"
        )


def _warm_start_errors(config: Config, key: str, steps: WarmStart) -> Iterator[str]:
    if steps.lr_warmup_steps > steps.steps:
        yield f"{key}.lr_warmup_steps = {steps.lr_warmup_steps}: must not be above {key}.steps ({steps.steps})"
    yield from _decay_errors(key, steps.weight_decay, {"lr": steps.lr})
    entry = config.datasets[steps.dataset]
    if isinstance(entry.source, LocalFile | HubData) and entry.columns.worked_solution is None:
        yield (
            f"{key}.dataset = '{steps.dataset}': has no worked solutions; name their column in "
            f"datasets.{steps.dataset}.columns.worked_solution"
        )
    yield from _batch_errors(f"{key}.batch_size", steps.batch_size, steps.dataset, entry)


def _run_errors(config: Config, key: str, run: Run) -> Iterator[str]:
    updates = run.steps * run.updates_per_rollout
    if run.lr_warmup_steps > updates:
        yield (
            f"{key}.lr_warmup_steps = {run.lr_warmup_steps}: must not be above steps x updates_per_rollout ({updates})"
        )
    rates = {"lr": run.lr}
    if isinstance(run, PPORun):
        rates["critic_lr"] = run.critic_lr
    yield from _decay_errors(key, run.weight_decay, rates)
    entry = config.datasets[run.dataset]
    yield from _batch_errors(f"{key}.prompts_per_batch", run.prompts_per_batch, run.dataset, entry)
    longest = config.references[run.reference].max_prompt_tokens
    if run.max_prompt_tokens is not None and run.max_prompt_tokens > longest:
        yield (
            f"{key}.max_prompt_tokens = {run.max_prompt_tokens}: must not be above "
            f"references.{run.reference}.max_prompt_tokens ({longest})"
        )
    if isinstance(run, GRPORun) and run.scale_by_std and run.std_epsilon < LEAST_DIVISOR:
        yield (
            f"{key}.std_epsilon = {run.std_epsilon:g}: must be at least {LEAST_DIVISOR:g} with scale_by_std: true, "
            "because the rewards of a group may all be equal"
        )


def _decay_errors(key: str, weight_decay: float, rates: dict[str, float]) -> Iterator[str]:
    for name, rate in rates.items():
        if rate * weight_decay >= 1:
            yield (
                f"{key}.weight_decay = {weight_decay:g}: times {name} ({rate:g}) must be below 1; otherwise every "
                "step would flip the sign of the weights"
            )


def _batch_errors(key: str, size: int, dataset: str, entry: TaskEntry) -> Iterator[str]:
    count = entry.source.count if isinstance(entry.source, GeneratedTask) else None
    for limit, most in (("max_prompts", entry.max_prompts), ("source.count", count)):
        if most is not None and size > most:
            yield f"{key} = {size}: must not be above datasets.{dataset}.{limit} ({most})"
