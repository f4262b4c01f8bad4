"""How many responses vLLM draws together, from the size of its cache."""

from __future__ import annotations

from astarpo.memory.shape import ModelShape

# vLLM 0.32: a block of its cache; what it needs besides weights and cache (supposed, for activations, logits and CUDA
# graphs); and the largest batch for which it records CUDA graphs by itself. Larger ones would be launched kernel by
# kernel, and gain nothing where its Python, which takes as long for each token, is the bound.
BLOCK_TOKENS, WORKING_BYTES, MOST_PLACES = 16, 4e9, 512


def vllm_cache_tokens(shape: ModelShape, precision: str, share_bytes: float) -> float:
    """Tokens whose keys and values fit into vLLM's share of the memory beside its weights.

    Args:
        shape: of the model, with known layers.
        precision: of weights, keys and values.
        share_bytes: of all the cards that share the model.
    """
    each = 2 if precision == "bfloat16" else 4
    return (share_bytes - each * shape.parameters) / (2 * shape.layers * shape.kv_width * each)


def vllm_places(shape: ModelShape, precision: str, longest: int, share_bytes: float) -> int:
    """Responses that vLLM draws together on a GPU: as many as its cache holds if all are as long as is allowed.

    None then has to give up its place and be computed again. An estimate that is wrong costs time, but no result.

    Args:
        shape, precision, share_bytes: as for `vllm_cache_tokens`.
        longest: tokens of the longest prompt plus response.
    """
    blocks = -(-longest // BLOCK_TOKENS)
    held = vllm_cache_tokens(shape, precision, share_bytes - WORKING_BYTES) // (blocks * BLOCK_TOKENS)
    return int(max(1, min(held, MOST_PLACES)))
