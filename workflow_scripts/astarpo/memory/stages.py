"""The memory of stages without reinforcement learning: sampling from a policy, and the warm start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from astarpo.common.machine import MachineSettings
from astarpo.memory.activations import SIZE, Kind
from astarpo.memory.parts import (
    GRADIENTS,
    OPTIMIZER,
    VLLM,
    WEIGHTS,
    Estimate,
    Moment,
    together,
)
from astarpo.memory.sampling import drawing
from astarpo.memory.shape import ModelShape


def sampling_estimate(
    shape: ModelShape,
    machine: MachineSettings,
    precision: str,
    prompt_tokens: int,
    response_tokens: int,
    rows: int,
    engine: str = "transformers",
    device_bytes: float = 0.0,
) -> Estimate:
    """Estimate the memory of stage 1's samples or of an evaluation's answers.

    Args:
        shape, machine: of the policy and where it is sampled.
        precision: ``float32`` or ``bfloat16``; transformers reads weights in fp32.
        prompt_tokens, response_tokens: of the longest.
        rows: responses to draw in all.
        engine: ``transformers`` or ``vllm``.
        device_bytes: memory of the device, of which vLLM takes a share.
    """
    if engine == "vllm":
        each = 2 if precision == "bfloat16" else 4
        own = each * shape.parameters / machine.sampler_tensor_parallel
        share = machine.vllm_share(trained=False) * device_bytes if machine.device != "cpu" else 0.0
        return Estimate((Moment("generate", {VLLM: max(own, share)}),))
    kind: Kind = "bfloat16" if precision == "bfloat16" else "float32"
    rows = min(rows, machine.sampling_batch)
    weights = {WEIGHTS: float(SIZE[kind] * shape.parameters)}
    drawn = drawing(shape, kind, rows, prompt_tokens, response_tokens)
    read = Moment("load", {WEIGHTS: 4.0 * shape.parameters})
    return Estimate((read, *(Moment("generate", together(weights, one)) for one in drawn)))


def fewer_at_a_time(
    machine: MachineSettings, with_machine: Callable[[MachineSettings], Estimate]
) -> Iterator[tuple[str, Estimate]]:
    """Make smaller sampling batches, half the size each, with their estimates."""
    for size in halves(machine.sampling_batch):
        yield f"machine: {{sampling_batch: {size}}}", with_machine(machine.changed(sampling_batch=size))


def halves(size: int, least: int = 1) -> list[int]:
    """Half of a size, a quarter, and so on, down to ``least``."""
    return [size >> shift for shift in range(1, size.bit_length()) if size >> shift >= least]


def loading_estimate(parameters: int) -> Estimate:
    """Estimate the memory of a model's fp32 weights alone."""
    return Estimate((Moment("load", {WEIGHTS: 4.0 * parameters}),))


def states_estimate(parameters: int, precision: str) -> Estimate:
    """Estimate the memory of a warm start's weights, gradients and two moments, before its solutions are known.

    Args:
        parameters: of the model.
        precision: ``float32`` or ``bfloat16``, in which passes use copies of the weights.
    """
    size, copies = 4.0 * parameters, 2.0 * parameters if precision == "bfloat16" else 0.0
    return Estimate((Moment("warm start", {WEIGHTS: size + copies, GRADIENTS: size, OPTIMIZER: 2 * size}),))
