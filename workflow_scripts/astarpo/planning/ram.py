"""The RAM to ask a cluster for: what the estimate of a job's memory says, with room for the programs themselves."""

from __future__ import annotations

import math

from astarpo.common.errors import InputError
from astarpo.config.runs import Config
from astarpo.memory.shape import ModelShape
from astarpo.memory.stages import sampling_estimate, states_estimate
from astarpo.planning.sizes import shape_of_reference
from astarpo.planning.training_jobs import training_job

MB = 1e6
# A process with Python, torch and a device's context, and a worker that grades; supposed.
PROCESS_MB, WORKER_MB = 4000, 500
# For models whose shape is not known before they are downloaded: on a CPU, on GPUs.
UNKNOWN_SAMPLING_MB, UNKNOWN_TRAINING_MB = (8000, 64_000), (16_000, 128_000)


def sampling_mb(config: Config, reference: str) -> int:
    """MB of RAM to prepare a reference, or to sample from it or from a policy trained from it.

    On a CPU the estimate of sampling or of the warm start's optimizer, whichever is larger; on GPUs the fp32 weights,
    which are read through the RAM.
    """
    entry, machine = config.references[reference], config.machine.settings()
    on_gpu = machine.device != "cpu"
    shape = _shape(config, reference)
    if shape is None:
        return UNKNOWN_SAMPLING_MB[on_gpu]
    if on_gpu:
        return _rounded(PROCESS_MB + 4 * shape.parameters / MB)
    lengths = [one.sampling.max_new_tokens for one in config.datasets.values() if one.sampling is not None]
    for benchmark in config.benchmarks.values():
        lengths += [protocol.max_new_tokens for protocol in benchmark.protocols.values()]
    sizes = (entry.max_prompt_tokens, max(lengths, default=0), machine.sampling_batch)
    size = sampling_estimate(shape, machine, entry.precision, *sizes, entry.sampling_engine).peak.total
    if entry.warm_start is not None:
        size = max(size, states_estimate(shape.parameters, entry.warm_start.precision).peak.total)
    return _rounded(PROCESS_MB + size / MB)


def training_mb(config: Config, run: str) -> int:
    """MB of RAM on a node for a training: on a CPU the estimate of all its processes, on GPUs what they keep there."""
    machine = config.machine.settings()
    on_gpu = machine.device != "cpu"
    known = _shape(config, config.runs[run].reference) is not None
    estimate = training_job(config, run, None, 1).estimate if known else None
    if estimate is None:
        return UNKNOWN_TRAINING_MB[on_gpu]
    size = machine.devices * estimate.peak.total
    if on_gpu:
        size = max((moment.total for moment in estimate.host), default=0.0)
    programs = machine.devices * (PROCESS_MB + machine.grading_workers * WORKER_MB)
    return _rounded(programs + size / MB)


def _shape(config: Config, reference: str) -> ModelShape | None:
    """The shape of a reference's model, if it is known; what is wrong with its folder is for its own job to say."""
    try:
        return shape_of_reference(config.references[reference])
    except InputError:
        return None


def _rounded(size_mb: float) -> int:
    """Up to whole thousands."""
    return 1000 * math.ceil(size_mb / 1000)
