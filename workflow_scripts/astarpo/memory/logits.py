"""What the head needs: the logits of all response tokens, or of a chunk of them; see `model.chunked_log_probs`.

The factors count the tensors [tokens, vocabulary] that exist together in `log_probs._at_once` and
`chunked_log_probs._forward` and `_backward`; measured with `python bench/memory.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from astarpo.memory.activations import Kind
from astarpo.memory.shape import ModelShape

# As in `model.chunked_log_probs`, which needs torch; tests compare the two.
SMALL_LOGITS = 2**24


@dataclass(frozen=True)
class Logits:
    """Bytes of the head in the two directions of a pass.

    Attributes:
        forward, backward: what exists together besides the activations.
    """

    forward: float
    backward: float


def logits(
    shape: ModelShape,
    kind: Kind,
    rows: float,
    response_tokens: int,
    chunk_tokens: int | None,
    entropy_gradient: bool = False,
    small_logits: int = SMALL_LOGITS,
    frozen: bool = False,
) -> Logits:
    """Compute what the head takes in an update; without gradient, `Logits.forward` applies.

    Args:
        shape, kind: of the model and its passes.
        rows: of the micro-batch.
        response_tokens: of its longest response.
        chunk_tokens: response tokens whose logits exist at a time; None: all.
        entropy_gradient: whether an entropy bonus needs a gradient.
        small_logits: up to so many logits are computed at once.
        frozen: LoRA gives the head no gradient.
    """
    tokens = rows * response_tokens
    if chunk_tokens is None or rows * (response_tokens + 1) * shape.vocabulary <= small_logits:
        return _at_once(shape, kind, tokens, entropy_gradient)
    chunk = min(chunk_tokens, tokens)
    again = tokens > chunk  # the last chunk's tensors are there until the next one's replace them
    chunk_logits = chunk * shape.vocabulary
    halves = kind != "float32"
    picked = tokens * shape.hidden * (2 if halves else 4)
    forward = chunk_logits * ((14 if halves else 12) if again else 8) + picked
    backward = chunk_logits * ((12 if halves else 8) if again else (8 if halves else 4))
    backward += 8 * chunk_logits if entropy_gradient else 0
    of_weight = 0 if frozen else shape.embeddings * (6 if halves else 4)
    return Logits(forward, backward + of_weight + 2 * picked)


def _at_once(shape: ModelShape, kind: Kind, tokens: float, entropy_gradient: bool) -> Logits:
    """The model's logits, their quotient by the temperature, its log-softmax, and for the entropy two products."""
    each = {"float32": 20, "bfloat16": 18}[kind] + (8 if entropy_gradient else 0)
    return Logits(tokens * shape.vocabulary * each, tokens * shape.vocabulary * 16 + 4 * shape.embeddings)
