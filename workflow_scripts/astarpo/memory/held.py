"""What a rank holds between passes, by engine; bytes per parameter as in ZeRO (Rajbhandari et al., arXiv 1910.02054).

For DeepSpeed the numbers are those of release 0.19.8, where they differ from the paper's: ``python bench/memory.py``
measures them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from astarpo.common.machine import MachineSettings
from astarpo.memory.activations import SIZE
from astarpo.memory.parts import (
    BUFFERS,
    COPIES,
    CRITIC,
    GRADIENTS,
    LAGGED,
    OPTIMIZER,
    REFERENCE,
    TRANSIENT,
    WEIGHTS,
    Parts,
    together,
)
from astarpo.memory.shape import ModelShape
from astarpo.memory.workload import Workload

BUCKET = 500_000_000  # gradients that DeepSpeed collects before it reduces them, its default
SUB_GROUP = 1_000_000_000  # weights that ZeRO 3 updates at a time, its default
LIVE = 1_000_000_000  # weights that ZeRO 3 keeps gathered during passes, its default


@dataclass(frozen=True)
class Held:
    """Bytes of one rank at the moments when no pass is running, and what passes and steps add to them.

    Attributes:
        load: while models are loaded and the engine is made.
        between: from the second step on, outside of updates.
        update: gradients and buffers that exist during an update besides.
        step: what the optimizer step adds to ``between``.
        export: what exporting adds.
        host: in RAM because of offloading.
    """

    load: Parts
    between: Parts
    update: Parts
    step: Parts
    export: Parts = field(default_factory=dict)
    host: Parts = field(default_factory=dict)


def held(shape: ModelShape, work: Workload, machine: MachineSettings, processes: int, bucket: int = BUCKET) -> Held:
    """Compute what a rank of a training holds.

    Args:
        shape, work, machine: of the training.
        processes: that train together.
        bucket: gradients in DeepSpeed's bucket.
    """
    return _torch(shape, work, machine) if work.engine == "torch" else _spread(shape, work, machine, processes, bucket)


def _torch(shape: ModelShape, work: Workload, machine: MachineSettings) -> Held:
    """fp32 weights, gradients and two moments; gradients stay until the next update begins.

    In bf16, passes use copies of trained weights; frozen ones, which are read in fp32, become bf16 once and for all.
    """
    whole, size = shape.parameters, SIZE[work.kind]
    trained = whole if work.adapters is None else work.adapters
    read = {
        WEIGHTS: _base(shape, work) + 4 * (work.adapters or 0),
        REFERENCE: 4 * whole if work.adapters is None else 0,
        CRITIC: 4 * shape.body if work.critic else 0,
    }
    frozen = 0.0 if work.adapters is None else min(_base(shape, work), size * whole)
    weights = {
        WEIGHTS: 4 * trained + frozen,
        COPIES: size * (trained + (shape.body if work.critic else 0)) if work.kind == "bfloat16" else 0,
        REFERENCE: size * whole if work.adapters is None else 0,
        CRITIC: read[CRITIC],
        LAGGED: size * trained if work.lagged else 0,
    }
    states = {GRADIENTS: 4 * trained, OPTIMIZER: 8 * trained, CRITIC: 12 * shape.body if work.critic else 0}
    largest = shape.largest if work.adapters is None or work.critic else 0
    # An AdamW step on a CPU computes the update of one weight after the other; on a GPU a fused kernel needs nothing.
    step = {TRANSIENT: 8 * largest if machine.device == "cpu" else 0, LAGGED: size * trained if work.lagged else 0}
    export = {TRANSIENT: exported_bytes(shape, work)} if machine.device == "cpu" else {}
    load = max(together(read), together(weights), key=lambda parts: sum(parts.values()))
    return Held(load, together(weights, states), {}, together(step), together(export))


def _base(shape: ModelShape, work: Workload) -> float:
    """Bytes of the policy's weights, or of those beside adapters: NF4 takes 4 bits, and 4 bytes for each 64 weights."""
    if work.base_precision == "nf4":
        return (0.5 + 4 / 64) * shape.linear + 2 * (shape.parameters - shape.linear)
    return (4 if work.base_precision == "float32" else 2) * shape.parameters


def exported_bytes(shape: ModelShape, work: Workload) -> float:
    """Bytes in the first rank's RAM at export: weights that DeepSpeed gathers, and a base to merge adapters into."""
    gathered = work.adapters or shape.parameters if work.engine == "deepspeed" else 0
    return 4.0 * (gathered + (0 if work.adapters is None else shape.parameters))


def _spread(shape: ModelShape, work: Workload, machine: MachineSettings, processes: int, bucket: int) -> Held:
    whole, size = shape.parameters, 2 if work.precision == "bfloat16" else 4
    trained = whole if work.adapters is None else work.adapters
    part = size * whole / (processes if machine.zero_stage == 3 else 1)  # of a model as it is read
    frozen, reference = (part, 0.0) if work.adapters is not None else (0.0, part)
    # With ZeRO 3, `generate` needs a whole copy, and so do lagged weights. vLLM takes weights one after another.
    needs_copy = machine.zero_stage == 3 and (work.sampling_engine == "transformers" or work.lagged)
    copied = size * (whole + (work.adapters or 0)) if needs_copy else 0
    reading = 2 * size * shape.largest if machine.zero_stage == 3 else 0  # from the file, and to the other processes
    engines = {"": _engine(shape, trained, size, machine, processes, bucket)}
    if work.critic:
        engines[CRITIC] = _engine(shape, shape.body, size, machine, processes, bucket)
    host = {}
    if machine.offload_parameters:
        host, frozen, reference = {WEIGHTS: frozen, REFERENCE: reference}, 0.0, 0.0
        part = 0.0 if machine.device != "cpu" else part
    others = {WEIGHTS: frozen + copied, REFERENCE: reference, LAGGED: size * trained if work.lagged else 0}
    if machine.device == "cpu":
        others, host = together(others, host), {}
    load = {WEIGHTS: part + copied, REFERENCE: reference, CRITIC: part if work.critic else 0, TRANSIENT: reading}
    converted = together({WEIGHTS: frozen + copied, REFERENCE: reference}, *(one.load for one in engines.values()))
    return Held(
        max(together(load), converted, key=lambda parts: sum(parts.values())),
        together(others, *(_named(name, one.between) for name, one in engines.items())),
        together(*(_named(name, one.update) for name, one in engines.items())),
        max((one.step for one in engines.values()), key=lambda parts: sum(parts.values())),
        {TRANSIENT: exported_bytes(shape, work)} if machine.device == "cpu" else {},
        together(host, *(one.host for one in engines.values())),
    )


def _named(name: str, parts: Parts) -> Parts:
    return {name: sum(parts.values())} if name else parts


def _engine(shape: ModelShape, trained: int, size: int, machine: MachineSettings, processes: int, bucket: int) -> Held:
    """One of DeepSpeed's engines: its weights, fp32 masters, moments, gradients and buffers."""
    stage = machine.zero_stage
    share = trained / processes if stage >= 1 else trained
    masters = 4 * share if size == 2 or stage >= 1 else 0  # in fp32 without ZeRO, the weights themselves
    weights = size * (share if stage == 3 else trained)
    # With ZeRO they are added up in fp32; with 1, each rank has all of them.
    gradients = {0: size * trained, 1: 4 * trained}.get(stage, 4 * share)
    kept_gradients = gradients if stage == 3 else 0
    buffers = {0: 0, 1: 4 * bucket}.get(stage, size * bucket)
    gathered = size * min(trained, LIVE) if stage == 3 else 0
    # The gradient of the largest weight is copied, and cast to fp32, before the processes add up their own.
    reduced = (size + 4) * min(trained, shape.largest) if stage == 3 and processes > 1 else 0
    at_once = min(share, SUB_GROUP) if stage == 3 else share
    step = 4 * at_once + _adam(shape, at_once, machine) + (size * trained if stage == 0 else 0)
    making = 4 * share  # gradients that are zero, with which the optimizer makes its states
    if stage == 0:
        making = 14 * share + 8 * shape.largest if size == 2 else 0
    load = weights + masters + making + kept_gradients
    if machine.offload_optimizer and machine.device != "cpu":
        load = 0 if machine.offload_parameters else weights
    on_gpu = {
        WEIGHTS: weights,
        OPTIMIZER: masters + 8 * share,
        GRADIENTS: kept_gradients,
    }
    host = {}
    if machine.offload_optimizer:
        host[OPTIMIZER] = masters + 8 * share + 4 * share
        on_gpu |= {OPTIMIZER: 0, GRADIENTS: 0}
        gradients, step = size * shape.largest, size * at_once
    if machine.offload_parameters:
        host[WEIGHTS] = weights
        on_gpu[WEIGHTS] = 0
    update = {
        GRADIENTS: gradients - on_gpu[GRADIENTS],
        BUFFERS: buffers,
        TRANSIENT: gathered + reduced,
    }
    if machine.device == "cpu":
        on_gpu, host = together(on_gpu, host), {}
    return Held({TRANSIENT: load}, on_gpu, update, {TRANSIENT: step}, {}, host)


def _adam(shape: ModelShape, weights: float, machine: MachineSettings) -> float:
    """What torch's AdamW needs for a moment: on a CPU two copies of a tensor, on a GPU (foreach) about one of all."""
    if machine.device != "cpu":
        return 4 * weights
    return 8 * (weights if machine.zero_stage >= 1 else shape.largest)
