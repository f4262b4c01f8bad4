"""Seconds of passes and of drawing, from a model's shape and a card's speeds: the roofline of Williams et al. 2009.

A phase takes as long as the slowest of computing, moving bytes, and starting kernels from Python. What is assumed about
reaching the makers' numbers stands in the constants; nothing here was measured on the card in question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from astarpo.common.cards import Card
from astarpo.memory.activations import Kind
from astarpo.memory.shape import ModelShape
from astarpo.training.flops import attention_flops, matrices_flops

MFU = (
    0.45  # of the peak FLOP/s that large passes reach, as reported for models of this size (PaLM, arXiv 2204.02311, B)
)
MEMORY = 0.75  # of the memory's and the links' bandwidth that is reached
# Kernels of a layer, counted with a dispatch mode, without views, on 28 layers of Qwen2 with copies in bf16: 1,111
# forward, 2,481 backward, 1,274 a token of transformers' generate; and seconds of host time for each, supposed but for
# those of a token, which took 20 to 21 ms on an H100.
FORWARD_LAUNCHES, BACKWARD_LAUNCHES, TOKEN_LAUNCHES = 39.7, 88.6, 45.5
FORWARD_LAUNCH_S, BACKWARD_LAUNCH_S, TOKEN_LAUNCH_S = 7e-6, 5e-6, 16e-6
# vLLM: host time for each token of a step and for the step, measured as 64 us on one slow core and halved; and what a
# step of the GPU takes besides the model (choice of tokens, launch of the graph).
PYTHON_TOKEN_S, PYTHON_STEP_S, GPU_STEP_S = 32e-6, 0.8e-3, 1.8e-3
POINTS = 512  # at which the lengthening of responses is followed


@dataclass(frozen=True)
class Tokens:
    """The tokens of one rank's rollout.

    Attributes:
        rows: responses.
        prompt, response: mean tokens of each.
        micro_batches: into which they are cut.
    """

    rows: float
    prompt: float
    response: float
    micro_batches: float

    @property
    def length(self) -> float:
        """Mean tokens of a sequence."""
        return self.prompt + self.response

    @property
    def read(self) -> float:
        """Tokens of all sequences."""
        return self.rows * self.length


def forward_s(shape: ModelShape, card: Card, kind: Kind, tokens: Tokens) -> float | None:
    """Seconds of a forward pass without gradient over a rollout.

    Bytes: bf16 weights are read for each micro-batch; the logits' tensors, 14 bytes an entry (`memory.logits`), are
    written and read.

    Args:
        shape, card: of the model and the GPU.
        kind: how the pass computes.
        tokens: of the rank.

    Returns:
        Seconds; None if the card's speeds are not known, or for fp32.
    """
    flops = matrices_flops(shape, tokens.read, tokens.rows * tokens.response)
    flops += attention_flops(shape, tokens.read, tokens.length)
    moved = 2 * shape.parameters * tokens.micro_batches
    moved += 2 * 14 * shape.vocabulary * tokens.rows * tokens.response
    return _slowest(card, kind, flops, moved, tokens.micro_batches * shape.layers * FORWARD_LAUNCHES * FORWARD_LAUNCH_S)


def update_s(
    shape: ModelShape, card: Card, kind: Kind, tokens: Tokens, recompute: bool = False, frozen: bool = False
) -> float | None:
    """Seconds of the forward and backward passes of an update.

    The backward pass multiplies twice as much as the forward pass, once for inputs and once for weights, which frozen
    ones do without; attention 2.5 times as much. Recomputed layers pass forward twice. Bytes: besides `forward_s`, 14 a
    weight, which is read, and whose gradient is written and added to a sum in fp32, and 12 an entry of the logits.

    Args:
        shape, card, kind, tokens: as for `forward_s`.
        recompute: whether layers are recomputed in the backward pass.
        frozen: whether only adapters are trained.

    Returns:
        Seconds; None as for `forward_s`.
    """
    products = matrices_flops(shape, tokens.read, tokens.rows * tokens.response)
    attention, again = attention_flops(shape, tokens.read, tokens.length), 1 if recompute else 0
    flops = products * (1 + again + (1 if frozen else 2)) + attention * (1 + again + 2.5)
    moved = (2 * (1 + again) + (2 if frozen else 14)) * shape.parameters * tokens.micro_batches
    moved += 2 * (14 + 12) * shape.vocabulary * tokens.rows * tokens.response
    launches = (1 + again) * FORWARD_LAUNCHES * FORWARD_LAUNCH_S + BACKWARD_LAUNCHES * BACKWARD_LAUNCH_S
    return _slowest(card, kind, flops, moved, tokens.micro_batches * shape.layers * launches)


def step_s(card: Card, trained: float, processes: int) -> float | None:
    """Seconds of AdamW: 28 bytes a weight (four fp32 tensors are read, three written), a share of them in each process.

    Args:
        card: the GPU.
        trained: weights.
        processes: over which the states are spread.
    """
    return None if card.bandwidth is None else 28 * trained / processes / (card.bandwidth * MEMORY)


def exchange_s(card: Card, weights: float, processes: int, zero_stage: int, micro_batches: float) -> float | None:
    """Seconds in which the processes of a machine exchange gradients and weights in bf16.

    ZeRO's volumes (Rajbhandari et al. 2020, arXiv 1910.02054, section 7), in bytes of the weights: twice a step with 0
    and 1; with 2 once for each micro-batch's gradients, and once a step; with 3 three times for each micro-batch.

    Args:
        card: the GPUs.
        weights: that are trained.
        processes: of the training.
        zero_stage: of DeepSpeed.
        micro_batches: of a step.
    """
    if processes == 1:
        return 0.0
    if card.link is None:
        return None
    times = {2: micro_batches + 1, 3: 3 * micro_batches}.get(zero_stage, 2)
    return times * 2 * weights * (processes - 1) / processes / (card.link * MEMORY)


@dataclass(frozen=True)
class Drawing:
    """Responses that one engine draws.

    Attributes:
        responses: in all.
        prompt: mean tokens of a prompt.
        longest: tokens of the longest response; lengths are supposed to be spread evenly from 0 to it.
        at_a_time: responses that are drawn together.
    """

    responses: float
    prompt: float
    longest: int
    at_a_time: float


def vllm_s(shape: ModelShape, card: Card, drawing: Drawing, cards: int = 1) -> float | None:
    """Seconds in which vLLM draws responses, started up already.

    A step draws one token of each response that is under way: it reads the bf16 weights and their keys and values once,
    or takes as long as Python does for so many. While responses wait, all places are taken, by responses that have
    reached a third of the longest length on average; the last ones end one after the other.

    Args:
        shape, card: of the model and the GPU.
        drawing: what is drawn.
        cards: that share the model.

    Returns:
        Seconds; None if the card's speeds are not known.
    """
    if card.bandwidth is None or card.flops is None:
        return None
    speed = card.bandwidth * MEMORY * cards
    keys_and_values = shape.layers * 2 * shape.kv_width * 2

    def step(under_way: float, drawn: float) -> float:
        moved = 2 * shape.parameters + under_way * (drawing.prompt + drawn) * keys_and_values
        return max(moved / speed + GPU_STEP_S, under_way * PYTHON_TOKEN_S + PYTHON_STEP_S)

    places = min(drawing.at_a_time, drawing.responses)
    waves = (drawing.responses - places) / places if places else 0.0
    full = waves * drawing.longest / 2 * step(places, drawing.longest / 3)
    reading = matrices_flops(shape, drawing.responses * drawing.prompt, 0) / (card.flops * MFU * cards)
    return reading + full + _ending(drawing.longest, places, step)


def _ending(longest: int, places: float, step: Callable[[float, float], float]) -> float:
    """Seconds of the last responses, fewer at each token: the mean over `POINTS` of them."""
    shares = [(point + 0.5) / POINTS for point in range(POINTS)]
    return longest * sum(step(places * (1 - share), share * longest) for share in shares) / POINTS


def transformers_s(shape: ModelShape, card: Card, kind: Kind, drawing: Drawing) -> float | None:
    """Seconds in which transformers draws responses: each batch takes as many steps as its longest response.

    Args:
        shape, card: of the model and the GPU.
        kind: how passes compute.
        drawing: what is drawn.

    Returns:
        Seconds; None as for `forward_s`.
    """
    places = min(drawing.at_a_time, drawing.responses)
    if not places:
        return 0.0
    keys_and_values = shape.layers * 2 * shape.kv_width * 2 * 1.5  # they are copied as buffers grow
    moved: float = 2 * shape.parameters
    moved += places * (drawing.prompt + drawing.longest / 2) * keys_and_values
    flops = matrices_flops(shape, places, places)
    token = _slowest(card, kind, flops, moved, shape.layers * TOKEN_LAUNCHES * TOKEN_LAUNCH_S)
    return None if token is None else -(-drawing.responses // places) * drawing.longest * token


def _slowest(card: Card, kind: Kind, flops: float, moved: float, launching: float) -> float | None:
    if card.flops is None or card.bandwidth is None or kind == "float32":
        return None
    return max(flops / (card.flops * MFU) + moved / (card.bandwidth * MEMORY), launching)
