"""The longest prompts and responses that a configuration's stages require of each reference's model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from astarpo.common.settings import canonical_json
from astarpo.config.runs import Config
from astarpo.config.schema import SelectionEntry, ValueEntry
from astarpo.model.lengths import Length


def lengths_of(config: Config, reference: str) -> list[Length]:
    """List the longest texts that a reference, or a policy trained from it, must process.

    Args:
        config: with valid names; other checks may still be pending.
        reference: its name.

    Returns:
        One length per data set sampled in stage 1, per run, and per protocol of a benchmark.
    """
    return [
        *_stage_one(config, reference),
        *_runs(config, reference),
        *_benchmarks(config, reference),
    ]


def lengths_json(config: Config, reference: str) -> str:
    """Return the lengths as JSON for `prepare_reference`. Not a setting: a new benchmark changes no reference."""
    return canonical_json([dataclasses.asdict(length) for length in lengths_of(config, reference)])


def _stage_one(config: Config, reference: str) -> Iterator[Length]:
    entries: list[ValueEntry | SelectionEntry] = [*config.values.values(), *config.selections.values()]
    sampled = [entry.dataset for entry in entries if entry.reference == reference]
    for name in dict.fromkeys(sampled):
        dataset = config.datasets[name]
        imported = dataset.samples is not None and dataset.samples.reference == reference
        if dataset.sampling is not None and not imported:
            longest = config.references[reference].max_prompt_tokens
            yield Length(f"datasets.{name}.sampling", longest, dataset.sampling.max_new_tokens)


def _runs(config: Config, reference: str) -> Iterator[Length]:
    for name, run in config.runs.items():
        sampling = config.datasets[run.dataset].sampling
        if run.reference == reference and sampling is not None:
            longest = config.references[reference].max_prompt_tokens
            longest = min(run.max_prompt_tokens or longest, longest)
            yield Length(f"runs.{name}", longest, sampling.max_new_tokens)


def _benchmarks(config: Config, reference: str) -> Iterator[Length]:
    runs = [run for run in config.runs.values() if run.reference == reference]
    wanted = {name for run in runs for name in (run.benchmarks or config.benchmarks)}
    for name, benchmark in config.benchmarks.items():
        for protocol_name, protocol in benchmark.protocols.items() if name in wanted else ():
            key = f"benchmarks.{name}.protocols.{protocol_name}"
            longest = config.references[reference].max_prompt_tokens
            yield Length(key, longest, protocol.max_new_tokens)
