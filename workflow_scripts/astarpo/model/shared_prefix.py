"""The beginning that all rows of a batch share, such as few-shot examples, read once instead of once per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from torch import Tensor

# Rotary embeddings whose frequencies change with the longest row: a beginning read by itself would have others.
OF_THE_LENGTH = {"dynamic", "longrope"}
# Architectures in which what a token sees depends on positions alone, not on its place in the cache, where shorter rows
# have gaps. ALiBi counts places (MPT), and so do local windows (GPT-Neo). All are tried in tests/test_shared_prefix.py.
EXACT = {
    "cohere",
    "gemma",
    "gpt2",
    "gpt_neox",
    "granite",
    "llama",
    "mistral",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
}
LEAST_SHARED = 16  # tokens; for fewer, a second call of the model costs more than it saves


def shared_length(input_ids_BS: Tensor, limit: int) -> int:
    """Count the tokens that all rows begin with.

    Args:
        input_ids_BS: prompts and responses, padded on the right.
        limit: count at most so many.

    Returns:
        The number of tokens; 0 if it is below `LEAST_SHARED` or there is a single row.
    """
    if len(input_ids_BS) < 2 or limit < LEAST_SHARED:
        return 0
    beginnings_BL = input_ids_BS[:, :limit]
    differs_L = (beginnings_BL != beginnings_BL[:1]).any(0)
    length = int(differs_L.int().argmax()) if bool(differs_L.any()) else beginnings_BL.shape[1]
    return length if length >= LEAST_SHARED else 0


def can_share(model: object) -> bool:
    """Whether a model reads the rest of a batch as it would read the whole.

    It must be a plain transformers model for which `sees_all_before` holds. It must not recompute activations, which
    transformers refuses to combine with a cache.
    """
    if not isinstance(model, PreTrainedModel) or model.is_gradient_checkpointing:
        return False
    return sees_all_before(model)


def sees_all_before(model: PreTrainedModel) -> bool:
    """Whether what a token sees depends on its row's tokens up to it alone, and on their positions.

    The architecture must be in `EXACT`, cache just keys and values of all tokens, and have rotary frequencies that do
    not depend on the length.
    """
    if not getattr(model, "_supports_default_dynamic_cache", lambda: False)():
        return False
    config = model.config.get_text_config(decoder=True)
    if config.model_type not in EXACT or rotary_types(config) & OF_THE_LENGTH:
        return False
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def rotary_types(config: PreTrainedConfig) -> set[str]:
    """Return the kinds of a model's rotary embeddings, which may differ between layers; empty: it has none."""
    parameters = getattr(config, "rope_parameters", None) or {}
    of_layers = [each for each in parameters.values() if isinstance(each, dict)]
    return {each["rope_type"] for each in (parameters, *of_layers) if "rope_type" in each}


def read_prefix(model: PreTrainedModel, prefix_ids_P: Tensor, rows: int) -> DynamicCache:
    """Read a beginning once, with gradient where gradients are recorded.

    Args:
        model: for which `can_share` holds.
        prefix_ids_P: the tokens.
        rows: B, number of rows that share them.

    Returns:
        Keys and values of each layer, expanded to B rows without a copy; gradients of the rows add up.
    """
    cache: Any = DynamicCache(config=model.config.get_text_config(decoder=True))
    model.base_model(input_ids=prefix_ids_P[None], past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return cache
