"""What a forward pass keeps for the backward pass, and what a pass needs besides for a moment.

Counted as by Korthikanti et al. 2022 (arXiv 2205.05198, section 4) for the layers of Llama and Qwen2 in transformers:
the tensors that autograd saves, with RMSNorm in fp32, a gated MLP, and attention (SDPA) that keeps no scores. That is
autograd's own count, see tests/test_memory_activations.py. Layers of other families keep somewhat more or less.
"""

from __future__ import annotations

from typing import Literal

from astarpo.memory.shape import ModelShape

Kind = Literal["float32", "bfloat16"]  # the precision in which a pass computes
SIZE: dict[Kind, int] = {"float32": 4, "bfloat16": 2}  # of weights, products and the hidden states between layers


def kept_of_layer(shape: ModelShape, kind: Kind, frozen: bool = False, packed: bool = False) -> float:
    """Bytes for each token that a layer keeps, without attention scores.

    With h, i, q, k the widths of hidden states, MLP, queries and keys, and a heads:

    * of each norm its input (fp32), the normalised input, and what the matrices after it read;
    * of attention q, k, v and its output, and 4 bytes a head for the scores' log-sums;
    * of the MLP gate, its activation, up and their product.

    Args:
        shape: of the model.
        kind: how the pass computes.
        frozen: with LoRA the norms' weights are frozen, so their normalised inputs are not kept.
        packed: rows are laid end to end and padded for attention (SDPA) alone: of its output there are two copies, with
            padding and without. The padding of q, k, v and the output is not counted; rows are sorted by length.
    """
    h, inner = shape.hidden, 2 * shape.query_width + 2 * shape.kv_width + 4 * shape.intermediate
    inputs = 2 * h * 4
    normalised = 0 if frozen else 2 * h * SIZE[kind]
    read = 2 * h * SIZE[kind]
    copied = shape.query_width * SIZE[kind] if packed else 0
    return inputs + normalised + read + copied + SIZE[kind] * inner + 4 * shape.heads + 2 * 4


def scores_of_layer(shape: ModelShape, kind: Kind, length: int) -> float:
    """Bytes for each token that `eager` attention keeps: the probabilities in fp32, and in bf16 also their copy."""
    if shape.attention != "eager":
        return 0.0
    return shape.heads * length * (4 if kind == "float32" else 6)


def kept(
    shape: ModelShape,
    kind: Kind,
    rows: float,
    length: int,
    checkpointing: bool = False,
    frozen: bool = False,
    shared: int = 0,
    packed: bool = False,
) -> float:
    """Bytes that a forward pass through the body keeps.

    Args:
        shape, kind, frozen, packed: as for `kept_of_layer`.
        rows: of the micro-batch.
        length: of its longest row, prompt and response.
        checkpointing: each layer keeps its input only.
        shared: tokens that all rows begin with, read once; see `model.shared_prefix` and `model.shared_layout`.
    """
    tokens = read_tokens(rows, length, shared)
    layer = kept_of_layer(shape, kind, frozen, packed) + scores_of_layer(shape, kind, length)
    if checkpointing:
        layer = shape.hidden * SIZE[kind]
    # The last norm: its input in fp32, normalised, and its result, from which the head's input is picked.
    last = shape.hidden * (4 + 2 * SIZE[kind])
    # With a mask, each row has keys and values of its whole length, copied for each query head.
    of_rows = 2 * (shape.query_width + shape.kv_width) * SIZE[kind] if shared else 0
    return tokens * (shape.layers * layer + last) + rows * length * shape.layers * of_rows


def read_tokens(rows: float, length: int, shared: int = 0) -> float:
    """Tokens of a micro-batch that pass through the model: what all rows begin with only once."""
    return rows * (length - shared) + shared


def forward_transient(shape: ModelShape, kind: Kind, tokens: float, length: int) -> float:
    """Bytes that a layer needs for a moment in a pass without gradient: MLP or scores, and some hidden states."""
    scores = shape.heads * length * 8 if shape.attention == "eager" else 0
    inner = max(3 * shape.intermediate * SIZE[kind], scores)
    return tokens * (inner + 3 * shape.hidden * SIZE[kind])


def backward_transient(
    shape: ModelShape,
    kind: Kind,
    tokens: float,
    length: int,
    checkpointing: bool = False,
    frozen: bool = False,
    packed: bool = False,
) -> float:
    """Bytes that the backward pass of a layer needs for a moment: gradients of its MLP, and what it recomputes.

    The gradient of a weight exists in the pass's precision and once more in fp32 before it is added up.
    """
    layer = kept_of_layer(shape, kind, frozen, packed) + scores_of_layer(shape, kind, length)
    recomputed = layer if checkpointing else 0.0
    scores = shape.heads * length * 8 if shape.attention == "eager" else 0
    inner = max(2 * shape.intermediate * SIZE[kind] + 2 * shape.hidden * SIZE[kind], scores)
    of_weight = 0 if frozen else shape.hidden * shape.intermediate * (4 if kind == "float32" else 6)
    return tokens * (recomputed + inner) + of_weight
