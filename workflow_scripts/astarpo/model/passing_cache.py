"""A cache that keeps nothing, with which transformers takes the rows of a batch for single sequences.

Without any cache, it compares positions to find rows that are packed end to end, and in each pass the host waits for a
GPU to read the answer (`masking_utils.find_packed_sequence_indices`). Masks and numbers are the same.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer


def passing_cache(model: PreTrainedModel) -> DynamicCache:
    """Make such a cache.

    Args:
        model: for which `shared_prefix.can_share` holds, or the body of one.
    """
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [PassingLayer() for _ in cache.layers]
    return cache


class PassingLayer(DynamicLayer):
    """Gives back the keys and values of each pass, and is empty before and after."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Return what it is given."""
        return key_states, value_states
