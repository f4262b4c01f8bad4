"""A cache of keys and values, in buffers with room for the tokens to come."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer


def growing_cache(model: PreTrainedModel, longest: int) -> DynamicCache | None:
    """Make an empty cache whose rows can be selected and which is not copied for each new token.

    Args:
        model: a causal language model (transformers).
        longest: most tokens of prompt and response together.

    Returns:
        A ``transformers.DynamicCache``; None if the model caches anything other than keys and values.
    """
    if not getattr(model, "_supports_default_dynamic_cache", lambda: False)():
        return None
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return None
    cache.layers = [GrowingLayer(longest) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache if cache.layers else None


class GrowingLayer(DynamicLayer):
    """Keys and values of a layer, in buffers with room for more.

    Args:
        longest: most tokens of prompt and response together.
    """

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self._buffers: tuple[Tensor | None, Tensor | None] = (None, None)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
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
    """Write ``added`` after the ``count`` tokens already held, in a larger buffer if there is no room."""
    needed = count + added.shape[-2]
    # Selecting or repeating rows replaces the view of the buffer by a new tensor.
    if buffer is None or held is None or held.data_ptr() != buffer.data_ptr() or needed > buffer.shape[-2]:
        room = max(needed, min(longest, needed + max(32, needed // 4)))
        buffer = added.new_empty((*added.shape[:2], room, added.shape[-1]))
        if held is not None and count:
            buffer[:, :, :count] = held
    buffer[:, :, count:needed] = added
    return buffer
