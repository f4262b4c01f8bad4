"""The memory of a training: what exists at each moment of a step, in each rank and on each node."""

from __future__ import annotations

from dataclasses import replace

from astarpo.common.machine import SHARE_ALONE, MachineSettings
from astarpo.memory.activations import SIZE, backward_transient, forward_transient, kept, read_tokens
from astarpo.memory.held import BUCKET, Held, exported_bytes, held
from astarpo.memory.logits import SMALL_LOGITS, Logits, logits
from astarpo.memory.parts import (
    ACTIVATIONS,
    AHEAD,
    BEST,
    COPIES,
    GRADIENTS,
    LOGITS,
    OPTIMIZER,
    TRANSIENT,
    VLLM,
    WEIGHTS,
    Estimate,
    Moment,
    Parts,
    times,
    together,
)
from astarpo.memory.sampling import drawing, vllm_bytes, vllm_host_bytes
from astarpo.memory.shape import ModelShape
from astarpo.memory.workload import Workload

FILE = 50_000_000_000  # bytes of a file of a large model, transformers' default


def training(
    shape: ModelShape,
    work: Workload,
    machine: MachineSettings,
    processes: int = 1,
    device_bytes: float = 0.0,
    bucket: int = BUCKET,
) -> Estimate:
    """Estimate the memory of a training.

    Args:
        shape: of the model.
        work: what is trained, and how.
        machine: where; ``machine.devices`` processes share a node.
        processes: that train together, on all nodes.
        device_bytes: memory of a device, of which vLLM takes a share.
        bucket: gradients in DeepSpeed's bucket.

    Returns:
        Moments of one rank on its device, and of a node in its RAM if the device is a GPU.
    """
    own = held(shape, work, machine, processes, bucket)
    if work.draws_ahead:
        return _with_second_process(shape, work, machine, processes, device_bytes, bucket)
    awake = {VLLM: vllm_bytes(shape, work, machine, device_bytes)}
    beside = {} if machine.sampler_sleep_level > 0 and machine.device != "cpu" else awake
    best = {BEST: 4 * shape.parameters if work.keeps_best and machine.device == "cpu" else 0}
    between = together(own.between, best)
    passes = _passes(shape, work, machine, processes)
    at_head, in_body = _at_passes(between, own, work, machine, processes)
    device = [
        Moment("load", own.load),  # vLLM starts after it, and first gives back what torch has cached
        *(Moment("generate", together(between, awake, one)) for one in _generation(shape, work, machine, processes)),
        *(Moment("reference", together(between, beside, one)) for one in passes.without_gradient),
        *(Moment("update", together(at_head, beside, one)) for one in passes.at_head),
        *(Moment("update", together(in_body, beside, one)) for one in passes.in_body),
        Moment("step", together(between, own.step, beside)),
        Moment("export", together(between, own.export, awake)),
    ]
    moments = tuple(device)
    if machine.device == "cpu":
        return Estimate(moments)
    return Estimate(moments, _host(shape, work, machine, own, processes))


def _with_second_process(
    shape: ModelShape, work: Workload, machine: MachineSettings, processes: int, device_bytes: float, bucket: int
) -> Estimate:
    """A training that draws ahead: on a CPU all that the second process takes is there as well, all the time."""
    alone = training(shape, replace(work, draws_ahead=False), machine, processes, 0.0, bucket)
    vllm, on_gpu = work.sampling_engine == "vllm", machine.device != "cpu"
    weights = (2.0 if work.precision == "bfloat16" else 4.0) * shape.parameters
    drawing = max(sum(one.values()) for one in _generation(shape, work, machine, processes))
    drawing += SHARE_ALONE * device_bytes if vllm and on_gpu else vllm_bytes(shape, work, machine, device_bytes)
    own = tuple(one for one in alone.device if one.phase != "generate")
    if not on_gpu:
        beside = {AHEAD: weights + drawing}
        return Estimate(tuple(Moment(one.phase, together(one.parts, beside)) for one in own))
    others = Moment("generate", {AHEAD: drawing if vllm else weights + drawing})  # on its own card
    shared = {AHEAD: weights}  # through which the weights pass
    return Estimate((*own, others), tuple(Moment(one.phase, together(one.parts, shared)) for one in alone.host))


def _at_passes(
    between: Parts, own: Held, work: Workload, machine: MachineSettings, processes: int
) -> tuple[Parts, Parts]:
    """What is held while the passes of an update compute the head, and while they go back through the layers."""
    held_with_gradients = together(between, own.update)
    if not work.in_one_pass(machine, processes):
        return held_with_gradients, held_with_gradients
    # Gradients come as activations go: none is there while the head is computed, and all are at the step. torch makes
    # them one after another; DeepSpeed makes room for all of a rank's at once, when the first of them is averaged.
    none_yet = {GRADIENTS: 0.0} if work.engine == "torch" else {}
    at_head = together({**between, **none_yet}, {**own.update, GRADIENTS: 0.0})
    return at_head, at_head if work.engine == "torch" else held_with_gradients


def _host(shape: ModelShape, work: Workload, machine: MachineSettings, own: Held, processes: int) -> tuple[Moment, ...]:
    """RAM of a node: offloaded states, what vLLM moves there, and the whole weights that the first rank gathers.

    Loading takes none: references are stored in fp32, and their files are mapped, which fills the page cache only.
    """
    weights = 4.0 * shape.parameters
    best = weights if work.keeps_best else 0.0
    asleep = vllm_host_bytes(shape, work, machine)
    states = 8.0 * shape.parameters if work.engine == "torch" and work.adapters is None else 0.0
    written = min(weights, FILE)  # safetensors' copy of what is written
    step, offloaded = times(
        machine.devices, (Moment("step", together(own.host, {VLLM: asleep})), Moment("export", own.host))
    )
    resume = {WEIGHTS: weights, OPTIMIZER: states, BEST: best}
    if work.engine == "deepspeed":
        resume = together(_resumed(shape, work, machine, own, processes), {BEST: best})
    first = {TRANSIENT: exported_bytes(shape, work) + written, BEST: best}
    return (
        step,
        Moment("resume", resume),
        Moment("export", together(offloaded.parts, first)),
    )


def _resumed(shape: ModelShape, work: Workload, machine: MachineSettings, own: Held, processes: int) -> Parts:
    """RAM of a node in which each of its ranks reads a checkpoint of DeepSpeed, all at once.

    A rank reads the whole model, or its share with ZeRO 3, and its share of masters and moments, of 12 bytes a weight.
    """
    of_weight = 2.0 if work.precision == "bfloat16" else 4.0
    trained = shape.parameters if work.adapters is None else work.adapters
    read = {
        WEIGHTS: of_weight * shape.parameters / (processes if machine.zero_stage == 3 else 1),
        OPTIMIZER: 12.0 * trained / (processes if machine.zero_stage else 1),
    }
    (moment,) = times(machine.devices, (Moment("resume", together(own.host, read)),))
    return moment.parts


class _Passes:
    """The moments of passes; parts besides those that are held.

    Attributes:
        without_gradient: of the reference.
        at_head: with gradient, until the gradient of the head is computed.
        in_body: with gradient, on the way back through the layers.
    """

    def __init__(self) -> None:
        self.without_gradient: list[Parts] = []
        self.at_head: list[Parts] = []
        self.in_body: list[Parts] = []


def _passes(shape: ModelShape, work: Workload, machine: MachineSettings, processes: int) -> _Passes:
    """Forward with the head, backward through the head, backward through a layer; with and without a critic's graph.

    The critic's graph is made after the policy's. Without DeepSpeed it is also the first to be freed.
    """
    kind, rows, frozen = work.kind, work.micro_batch(machine, processes), work.adapters is not None
    again = machine.activation_checkpointing
    # As `shared_prefix.can_share`: recomputed layers have no cache. DeepSpeed's pass is laid out for SDPA alone.
    laid = work.engine == "deepspeed" and shape.attention == "sdpa"
    shared = 0 if again or rows < 2 or (work.engine == "deepspeed" and not laid) else work.shared_tokens
    packed = (laid and shared > 0) or (machine.packing is True and shape.attention == "sdpa")
    tokens = read_tokens(rows, work.length, shared)
    head = _head(shape, work, machine, rows)
    # Four bits are multiplied as a bf16 copy, of one matrix at a time.
    copies = 2.0 * shape.hidden * shape.intermediate if work.base_precision == "nf4" else 0.0
    of_layer = 0.0 if again else copies  # recomputed layers do not keep the copies
    graph = kept(shape, kind, rows, work.length, again, frozen, shared, packed)
    backward = backward_transient(shape, kind, tokens, work.length, again, frozen, packed)
    # A tied head's gradient waits for that of the embeddings. At the end there are both and their sum.
    tied = (2.0 if kind == "bfloat16" else 4.0) * shape.embeddings if shape.tied and not frozen else 0.0
    critic = 0.0
    if work.critic:
        critic = kept(shape, kind, rows, work.length, again, packed=packed)
    passes = _Passes()
    forward = forward_transient(shape, kind, tokens, work.length)
    hidden = tokens * shape.hidden * SIZE[kind]
    passes.without_gradient += [
        {ACTIVATIONS: hidden, COPIES: copies, LOGITS: head.forward},
        {ACTIVATIONS: forward, COPIES: copies},
    ]
    passes.at_head += [
        {ACTIVATIONS: graph, COPIES: copies, LOGITS: head.forward},
        {ACTIVATIONS: graph, COPIES: of_layer, LOGITS: head.backward},
    ]
    passes.in_body += [{ACTIVATIONS: graph + backward, COPIES: of_layer, TRANSIENT: tied}, {TRANSIENT: 3 * tied}]
    if work.critic:
        saved = _saved_logits(shape, work, machine, rows)
        spread = critic if work.engine == "deepspeed" else 0.0
        passes.at_head += [
            {ACTIVATIONS: graph + critic, COPIES: of_layer + copies, LOGITS: saved},
            {ACTIVATIONS: graph + spread, COPIES: of_layer, LOGITS: head.backward},
        ]
        passes.in_body.append({ACTIVATIONS: graph + critic + backward, COPIES: 2 * of_layer, LOGITS: saved})
    return passes


def _head(shape: ModelShape, work: Workload, machine: MachineSettings, rows: float) -> Logits:
    small = 0 if work.engine == "deepspeed" and machine.zero_stage == 3 else SMALL_LOGITS
    return logits(
        shape,
        work.kind,
        rows,
        work.response_tokens,
        work.chunk_tokens,
        work.entropy_bonus,
        small,
        frozen=work.adapters is not None,
    )


def _saved_logits(shape: ModelShape, work: Workload, machine: MachineSettings, rows: float) -> float:
    """What the policy's graph keeps of its logits while the critic's is made: the log-softmax, unless in chunks."""
    tokens = rows * work.response_tokens
    chunked = _head(shape, replace(work, chunk_tokens=None), machine, rows) != _head(shape, work, machine, rows)
    return 0.0 if chunked else 4.0 * tokens * shape.vocabulary


def _generation(shape: ModelShape, work: Workload, machine: MachineSettings, processes: int) -> list[Parts]:
    """The moments of sampling; vLLM's memory is counted apart, without the weight that is being pushed to it."""
    if work.sampling_engine == "vllm":
        size, merging = SIZE[work.kind] if work.engine == "deepspeed" else 4, work.adapters is not None
        gathered = work.engine == "deepspeed" and machine.zero_stage == 3
        return [{TRANSIENT: float(size * shape.largest * (gathered + 2 * merging))}]
    rows = work.sampled_rows(machine, processes)
    drawn = drawing(shape, work.kind, rows, work.prompt_tokens, work.response_tokens)
    if work.kind == "bfloat16" and work.adapters is not None and machine.device == "cpu":
        # There torch copies a frozen head for each row, to multiply matrices in batches.
        drawn.append(together(drawn[-1], {TRANSIENT: 2.0 * rows * shape.embeddings}))
    return drawn
