"""Disk space of a configuration: data, samples, models, and checkpoints while they are written."""

from __future__ import annotations

from collections.abc import Mapping

from astarpo.config.policies import kept_steps, trainings
from astarpo.config.runs import Config
from astarpo.config.samples import drawn_blocks, sampling_of
from astarpo.config.schema import TaskEntry
from astarpo.memory.shape import ModelShape
from astarpo.objectives import METHODS
from astarpo.planning.sizes import rows_of, shape_of_reference
from astarpo.stage_one.settings import HubModel

CHECKPOINTS_KEPT = 2  # as in `model.checkpoints`, which needs torch; one more is written before the oldest goes
ROW_BYTES = 2000  # of a problem, its prompt and its worked solution; supposed
TOKEN_BYTES = 6  # of a sampled token and its text in parquet, compressed; supposed


def disk_bytes(config: Config) -> Mapping[str, float]:
    """Compute the disk space that a configuration takes at its height, if one training runs at a time.

    Returns:
        Bytes by what they are for. Models whose shape is not known are not counted.
    """
    shapes = {name: shape_of_reference(entry) for name, entry in config.references.items()}
    weights = {name: 4.0 * shape.parameters for name, shape in shapes.items() if shape is not None}
    hub = [name for name, entry in config.references.items() if isinstance(entry.source, HubModel)]
    of_run = {name: weights.get(run.reference, 0.0) for name, run in config.runs.items()}
    written = max((_checkpoint(config, name, shapes[run.reference]) for name, run in config.runs.items()), default=0.0)
    steps = [run for run, _, _ in kept_steps(config)]
    return {
        "data sets": ROW_BYTES * sum(rows_of(entry)[0] for entry in _data(config)),
        "samples of stage 1": _samples(config),
        "hub's cache": sum(weights.get(name, 0.0) / 2 for name in hub),  # in bf16
        "references": sum(weights.values()),
        "trained models": sum(of_run[run] for run, _ in trainings(config)) + 2 * sum(of_run[run] for run in steps),
        "checkpoints kept": CHECKPOINTS_KEPT * written,
        "a checkpoint being written": written,
    }


def _data(config: Config) -> list[TaskEntry]:
    return [*config.datasets.values(), *config.benchmarks.values()]


def _samples(config: Config) -> float:
    total = 0.0
    for (_, dataset), blocks in drawn_blocks(config).items():
        sampling = sampling_of(config, dataset)
        responses = rows_of(config.datasets[dataset])[0] * sampling.block_size * len(blocks) / sampling.prompt_shards
        total += responses * sampling.max_new_tokens / 2 * TOKEN_BYTES
    return total


def _checkpoint(config: Config, name: str, shape: ModelShape | None) -> float:
    """Bytes of one: weights and two moments in fp32 (with DeepSpeed also the bf16 weights), and what a method adds."""
    if shape is None:
        return 0.0
    run = config.runs[name]
    method = METHODS[run.method]
    trained = shape.parameters if run.lora is None else shape.adapters(run.lora.rank, run.lora.targets)
    each = 14 if run.engine == "deepspeed" and config.references[run.reference].precision == "bfloat16" else 12
    best = 4.0 * shape.parameters if run.keep is not None and run.keep.best is not None else 0.0
    lagged = 4.0 * trained if method.anchor == "lagged" else 0.0
    return each * trained + (each * shape.body if method.needs_critic else 0) + best + lagged
