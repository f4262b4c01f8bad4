"""The shape of a decoder, as its config.json tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

# What GPT-2 and others call the same number; the first name that is there counts.
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "vocabulary": ("vocab_size",),
}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True)
class ModelShape:
    """The numbers that determine the memory of a decoder.

    Attributes:
        layers, hidden, intermediate, heads, kv_heads, vocabulary: as in config.json.
        head_size: width of an attention head.
        tied: whether the head uses the embeddings' weights.
        parameters: number of all weights, those of tied layers once.
        attention: transformers' implementation; ``eager`` keeps the scores of all pairs of tokens.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    parameters: int
    attention: str = "sdpa"

    @property
    def query_width(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all keys, or of all values."""
        return self.kv_heads * self.head_size

    @property
    def embeddings(self) -> int:
        """Weights of the embeddings, or of the head."""
        return self.vocabulary * self.hidden

    @property
    def linear(self) -> int:
        """Weights of the layers' matrices: all but embeddings, head and norms (which are few)."""
        return self.parameters - self.embeddings * (1 if self.tied else 2)

    @property
    def largest(self) -> int:
        """Weights of the largest matrix."""
        return max(self.embeddings, self.hidden * self.intermediate)

    @property
    def body(self) -> int:
        """Weights without the head."""
        return self.parameters - (0 if self.tied else self.embeddings)

    @classmethod
    def of(cls, config: Mapping[str, object], parameters: int | None = None) -> Self | None:
        """Read the contents of a config.json.

        Args:
            config: of a causal language model.
            parameters: their number if it is known; None: computed as for Llama, with Qwen2's biases.

        Returns:
            The shape; None if the config lacks one of the numbers, or for a mixture of experts.
        """
        text = config.get("text_config")
        if isinstance(text, Mapping):
            return cls.of(text, parameters)
        numbers = {name: _number(config, *keys) for name, keys in NAMES.items()}
        layers, hidden, heads, vocabulary = (numbers[name] for name in NAMES)
        if not (layers and hidden and heads and vocabulary) or any(config.get(key) for key in EXPERTS):
            return None
        shape = cls(
            layers=layers,
            hidden=hidden,
            intermediate=_number(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
            heads=heads,
            kv_heads=_number(config, "num_key_value_heads") or heads,
            head_size=_number(config, "head_dim") or hidden // heads,
            vocabulary=vocabulary,
            tied=bool(config.get("tie_word_embeddings", "n_embd" in config)),
            parameters=parameters or 0,
            attention=str(config.get("attn_implementation") or "sdpa"),
        )
        return shape if parameters else replace(shape, parameters=_parameters(shape, config.get("model_type")))

    @classmethod
    def of_unknown(cls, parameters: int) -> Self:
        """A shape of which only the number of weights is known: nothing but weights and their states is counted."""
        return cls(0, 0, 0, 0, 0, 0, 0, True, parameters)

    def adapters(self, rank: int, targets: str | tuple[str, ...]) -> int:
        """Count the weights of LoRA's matrices: rank (in + out) for each adapted matrix.

        Args:
            rank: of the matrices.
            targets: ``all-linear``, or names of layers as in Llama; others count as the widest.
        """
        h, i, q, kv = self.hidden, self.intermediate, self.query_width, self.kv_width
        sides = {"q_proj": h + q, "k_proj": h + kv, "v_proj": h + kv, "o_proj": q + h}
        sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), h + i)
        chosen = sides if isinstance(targets, str) else targets
        return self.layers * rank * sum(sides.get(name, h + i) for name in chosen)


def _number(config: Mapping[str, object], *keys: str) -> int | None:
    return next((value for key in keys if isinstance(value := config.get(key), int) and value > 0), None)


def _parameters(shape: ModelShape, model_type: object) -> int:
    h, i, q, kv = shape.hidden, shape.intermediate, shape.query_width, shape.kv_width
    biases = q + 2 * kv if model_type == "qwen2" else 0
    layer = 2 * h * q + 2 * h * kv + 3 * h * i + 2 * h + biases
    return shape.layers * layer + h + shape.embeddings * (1 if shape.tied else 2)
