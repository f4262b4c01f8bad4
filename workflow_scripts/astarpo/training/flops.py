"""Floating-point operations of a model's passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.memory.shape import ModelShape


@dataclass(frozen=True)
class Lengths:
    """Tokens of some sequences.

    Attributes:
        prompts, responses: of each sequence.
    """

    prompts: Sequence[int]
    responses: Sequence[int]

    @property
    def drawn(self) -> int:
        """Tokens of all responses."""
        return sum(self.responses)

    @property
    def read(self) -> int:
        """Tokens of all prompts and responses."""
        return sum(self.prompts) + self.drawn


def matrices_flops(shape: ModelShape, tokens: float, responses: float) -> float:
    """FLOPs of a forward pass's matrix products: 2 for each weight and token (Kaplan et al. 2020, arXiv 2001.08361).

    Args:
        shape: of the model.
        tokens: that pass through the layers.
        responses: those of them that pass through the head.
    """
    return 2 * shape.linear * tokens + 2 * shape.embeddings * responses


def attention_flops(shape: ModelShape, tokens: float, length: float) -> float:
    """FLOPs of causal attention in a forward pass: 4 for each layer, width and pair of tokens (FlashAttention).

    A token sees half of its sequence on average (Dao 2023, arXiv 2307.08691, section 4.1).

    Args:
        shape: of the model.
        tokens: in all.
        length: of a sequence.
    """
    return 4 * shape.layers * shape.query_width * tokens * length / 2


def pass_flops(shape: ModelShape, lengths: Lengths, head: bool = True) -> float:
    """FLOPs of a forward pass that a model needs for some sequences: without padding, and nothing computed twice.

    A backward pass takes twice as many, once for inputs and once for weights (PaLM, arXiv 2204.02311, appendix B).

    Args:
        shape: of the model.
        lengths: of the sequences; a prompt of several responses counts for each of them.
        head: whether responses pass through the head; a critic has none of that size.
    """
    pairs = zip(lengths.prompts, lengths.responses, strict=True)
    attention = sum(attention_flops(shape, prompt + response, prompt + response) for prompt, response in pairs)
    return matrices_flops(shape, lengths.read, lengths.drawn if head else 0) + attention
