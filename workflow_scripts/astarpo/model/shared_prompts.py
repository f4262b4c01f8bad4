"""Prompts that several rows of a batch share, such as a group's responses to one prompt, read once for each prompt."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from astarpo.model.attention import SDPA
from astarpo.model.shared_prefix import LEAST_SHARED, read_prefix, shared_length

MASKABLE = (SDPA, "eager")  # with these, a hidden position gets exactly no attention


@dataclass(frozen=True)
class Contexts:
    """The distinct contexts of a batch: prompts without their last token, which predicts the first of the response.

    Attributes:
        ids_UP: U of them, padded on the right with -1.
        of_row_B: each row's one.
        lengths_B: tokens of each row's one.
        rest: tokens to read after it: the last of the prompt, and all but the last of the longest response.
    """

    ids_UP: Tensor
    of_row_B: Tensor
    lengths_B: Tensor
    rest: int

    def to(self, device: torch.device) -> Contexts:
        """Copy them to a device."""
        return Contexts(self.ids_UP.to(device), self.of_row_B.to(device), self.lengths_B.to(device), self.rest)


def can_share_prompts(model: PreTrainedModel) -> bool:
    """Whether a model for which `shared_prefix.can_share` holds also takes positions, and hides padding exactly."""
    return (
        model.config._attn_implementation in MASKABLE
        and "position_ids" in inspect.signature(model.base_model.forward).parameters
    )


def find_shared(
    input_ids_BS: Tensor, mask_BT: Tensor, positions_BT: Tensor, prompts: bool = True
) -> tuple[int, Contexts | None]:
    """Find what the rows of a batch share, in CPU memory.

    Args:
        input_ids_BS: prompts and responses, padded on the right.
        mask_BT: True at response tokens.
        positions_BT: index of the token that predicts each; the first of them is not shared.
        prompts: whether to look for prompts that only some rows have.

    Returns:
        The number of tokens that all rows begin with, and the contexts, if there is enough of them.
    """
    first = int(positions_BT[mask_BT].min()) if bool(mask_BT.any()) else 0
    prefix = shared_length(input_ids_BS, first)
    return prefix, find_contexts(input_ids_BS, positions_BT[:, 0], mask_BT, prefix) if prompts else None


def find_contexts(input_ids_BS: Tensor, lengths_B: Tensor, mask_BT: Tensor, prefix: int) -> Contexts | None:
    """Find the distinct contexts of a batch, if reading each once saves enough.

    It must save `LEAST_SHARED` tokens for each row that has its context from another, padding included, compared with
    rows that share nothing but a common beginning.

    Args:
        input_ids_BS: prompts and responses, padded on the right.
        lengths_B: tokens of each row's context.
        mask_BT: True at response tokens.
        prefix: tokens that all rows begin with, read once in any case.

    Returns:
        None if it is not worth it: all contexts are different, all are the same (then they are a common beginning), or
        they are short beside the responses.
    """
    rows, width = input_ids_BS.shape
    if rows < 3 or not bool(mask_BT.any(-1).all()):
        return None
    longest, rest = int(lengths_B.max()), int(mask_BT.sum(-1).max())
    if width - prefix <= rest:
        return None
    padding_BP = torch.arange(longest, device=lengths_B.device) >= lengths_B[:, None]
    ids_UP, of_row_B = input_ids_BS[:, :longest].masked_fill(padding_BP, -1).unique(dim=0, return_inverse=True)
    distinct = len(ids_UP)
    saved = rows * (width - prefix) - distinct * (longest - prefix) - rows * rest
    if distinct in (1, rows) or saved < LEAST_SHARED * (rows - distinct):
        return None
    return Contexts(ids_UP, of_row_B, lengths_B, rest)


def read_contexts(model: PreTrainedModel, input_ids_BS: Tensor, contexts: Contexts, prefix: int) -> dict[str, Any]:
    """Read each context once, with gradient where gradients are recorded.

    Args:
        model: for which `can_share_prompts` holds.
        input_ids_BS: prompts and responses.
        contexts: of these rows.
        prefix: tokens that all rows begin with; they are read first, by one row.

    Returns:
        What the model is to be called with for the rest of each row, from the last token of its prompt on: token ids,
        positions, keys and values of its context, and a mask that hides the padding of shorter contexts.
    """
    distinct, longest = contexts.ids_UP.shape
    cache: Any = DynamicCache(config=model.config.get_text_config(decoder=True))
    if prefix:
        cache = read_prefix(model, contexts.ids_UP[0, :prefix], distinct)
    model.base_model(input_ids=contexts.ids_UP[:, prefix:].clamp(min=0), past_key_values=cache, use_cache=True)
    cache.batch_select_indices(contexts.of_row_B)
    lengths_B1 = contexts.lengths_B[:, None]
    # Padding on the right goes on counting; learned positions have no more than the longest row.
    device, last = lengths_B1.device, input_ids_BS.shape[1] - 1
    positions_BR = (lengths_B1 + torch.arange(contexts.rest, device=device)).clamp(max=last)
    seen_BP = torch.arange(longest, device=device) < lengths_B1
    return {
        "input_ids": input_ids_BS.gather(1, positions_BR),
        "position_ids": positions_BR,
        "attention_mask": torch.cat([seen_BP, torch.ones_like(positions_BR, dtype=torch.bool)], dim=1),
        "past_key_values": cache,
        "use_cache": True,
    }
