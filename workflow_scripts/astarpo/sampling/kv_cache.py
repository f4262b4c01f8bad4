"""Keys and values of what was read already, in buffers with room for the tokens to come."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


def growing_cache(model: Any, longest: int) -> Any | None:
    """Make an empty cache whose rows can be chosen, and which does not copy itself for each token.

    Args:
        model: a causal language model (transformers).
        longest: tokens of prompt and response at most.

    Returns:
        A ``transformers.DynamicCache``; None if the model keeps something else than keys and values.
    """
    if not getattr(model, "_supports_default_dynamic_cache", lambda: False)():
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return None
    cache.layers = [GrowingLayer(longest) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache if cache.layers else None


class GrowingLayer(DynamicLayer):
    """Keys and values of a layer, in buffers that have room for more.

    Args:
        longest: tokens of prompt and response at most.
    """

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self._buffers: tuple[Tensor | None, Tensor | None] = (None, None)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, heads, new tokens, size of a head]; return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self._buffers
        count = self.get_seq_length()
        keys = _append(keys, self.keys, key_states, count, self.longest)
        values = _append(values, self.values, value_states, count, self.longest)
        self._buffers = keys, values
        last = count + key_states.shape[-2]
        self.keys, self.values = keys[:, :, :last], values[:, :, :last]
        return self.keys, self.values


def _append(buffer: Tensor | None, held: Tensor | None, added: Tensor, count: int, longest: int) -> Tensor:
    """Write ``added`` behind the ``count`` tokens that are held, into a larger buffer where it has no room."""
    needed = count + added.shape[-2]
    # Whoever chose rows or repeated them left a tensor of its own in place of the view of the buffer.
    if buffer is None or held is None or held.data_ptr() != buffer.data_ptr() or needed > buffer.shape[-2]:
        room = max(needed, min(longest, needed + max(32, needed // 4)))
        buffer = added.new_empty((*added.shape[:2], room, added.shape[-1]))
        if held is not None and count:
            buffer[:, :, :count] = held
    buffer[:, :, count:needed] = added
    return buffer
