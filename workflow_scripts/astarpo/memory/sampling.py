"""What sampling takes: keys and values, the choice of tokens, and vLLM."""

from __future__ import annotations

from astarpo.common.machine import MachineSettings
from astarpo.memory.activations import SIZE, Kind, forward_transient
from astarpo.memory.parts import ACTIVATIONS, CACHE, LOGITS, Parts
from astarpo.memory.shape import ModelShape
from astarpo.memory.workload import Workload

# Bytes for each logit of a batch while `SeededChoice` draws a token: raw logits, a copy, scores, log-probabilities, and
# in fp64 the probabilities and their cumulative sums. Measured with `python bench/memory.py`.
CHOOSING = 32


def cache(shape: ModelShape, kind: Kind, rows: int, length: int) -> float:
    """Bytes of the keys and values of ``rows`` sequences of ``length`` tokens.

    One layer is copied at a time when its buffer grows.
    """
    return (shape.layers + 1) * rows * length * shape.kv_width * 2 * SIZE[kind]


def choosing(shape: ModelShape, rows: int) -> float:
    """Bytes that the choice of the next tokens takes."""
    return CHOOSING * rows * shape.vocabulary


def drawing(shape: ModelShape, kind: Kind, rows: int, prompt_tokens: int, response_tokens: int) -> list[Parts]:
    """What `generate` takes at two moments: when it reads prompts, and when it draws the last token.

    Args:
        shape, kind: of the model and its passes.
        rows: drawn at a time, none of which has ended.
        prompt_tokens, response_tokens: of the longest.
    """
    reading = forward_transient(shape, kind, rows * prompt_tokens, prompt_tokens)
    return [
        {CACHE: cache(shape, kind, rows, prompt_tokens), ACTIVATIONS: reading},
        {CACHE: cache(shape, kind, rows, prompt_tokens + response_tokens), LOGITS: choosing(shape, rows)},
    ]


def vllm_bytes(shape: ModelShape, work: Workload, machine: MachineSettings, device_bytes: float) -> float:
    """Bytes of a device that vLLM takes while it samples: its share of a GPU; on a CPU its weights.

    On a CPU its cache grows on demand, up to a share of the RAM.
    """
    if work.sampling_engine != "vllm":
        return 0.0
    if machine.device != "cpu":
        return machine.sampler_memory_share * device_bytes
    return (2 if work.precision == "bfloat16" else 4) * shape.parameters


def vllm_host_bytes(shape: ModelShape, work: Workload, machine: MachineSettings) -> float:
    """Bytes of RAM that vLLM's weights take while it sleeps at level 1."""
    if work.sampling_engine != "vllm" or machine.sampler_sleep_level != 1:
        return 0.0
    return (2 if work.precision == "bfloat16" else 4) * shape.parameters
