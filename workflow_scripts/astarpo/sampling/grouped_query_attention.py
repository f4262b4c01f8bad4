"""Attention for one new token of models whose query heads share keys and values (GQA)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_of_groups"


@contextmanager
def groups_together(model: PreTrainedModel) -> Iterator[None]:
    """Make a model with ``sdpa`` attention read shared keys once instead of copying them for each query head.

    Args:
        model: a causal language model (transformers); left alone if it uses another kind of attention.
    """
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None)
    shared = getattr(config, "num_key_value_heads", None) not in (None, heads)
    if not shared or config._attn_implementation != "sdpa":
        yield
        return
    _register()
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def _register() -> None:
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attend(
    module: torch.nn.Module,
    query_BHQD: Tensor,
    key_BGSD: Tensor,
    value_BGSD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend from one new token: its H query heads become H / G queries to each of the G key heads.

    As in transformers, neighbouring query heads share a key head. Calls with more than one new token go to
    transformers' own function.

    Args:
        module: the attention layer.
        query_BHQD, key_BGSD, value_BGSD: heads, with Q new tokens and S tokens in all.
        attention_mask: [B, 1, Q, S], bool, or added to the scores; None: everything is visible.
        scaling: factor of the scores.
        others: see `transformers.integrations.sdpa_attention`.

    Returns:
        [B, Q, H, D] and None.
    """
    batch, heads, new, size = query_BHQD.shape
    groups = key_BGSD.shape[1]
    of_heads = attention_mask is not None and attention_mask.shape[1] != 1
    if new != 1 or groups == heads or of_heads or others.get("position_bias") is not None:
        output: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_BHQD, key_BGSD, value_BGSD, attention_mask, scaling=scaling, **others
        )
        return output
    query_BGRD = query_BHQD.reshape(batch, groups, heads // groups, size)
    attended_BGRD = torch.nn.functional.scaled_dot_product_attention(
        query_BGRD,
        key_BGSD,
        value_BGSD,
        attn_mask=attention_mask,
        scale=scaling,
        dropout_p=others.get("dropout", 0.0),
    )
    return attended_BGRD.reshape(batch, 1, heads, size), None
