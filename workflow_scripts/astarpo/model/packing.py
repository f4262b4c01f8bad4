"""Packing: rows of a batch laid end to end in one row, so that no padding is computed.

Positions begin anew in each of the packed rows, and each attends to itself alone: with flash attention by its kernels
for variable lengths, with ``sdpa`` by padding queries, keys and values for attention alone. Everything else of a layer
computes each token by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from astarpo.model.attention import FLASH, SDPA
from astarpo.model.shared_prefix import sees_all_before

ARGUMENT = "packed_rows"  # by which transformers hands the rows on from a model's call to its layers' attention


@dataclass(frozen=True)
class PackedRows:
    """Rows laid end to end.

    Attributes:
        input_ids_1L: their L tokens.
        position_ids_1L: of each token in its own row.
        places_N: index of the token that predicts each response token.
        starts: index of the first token of each row, and L, as int32; what kernels for variable lengths take.
        padded_Q: where rows are padded for a moment: the index of the token at each of the B x S places, the first of
            its row where there is none.
        flat_L: the place of each token among them.
        lengths: of the rows, in CPU memory.
    """

    input_ids_1L: Tensor
    position_ids_1L: Tensor
    places_N: Tensor
    starts: Tensor
    padded_Q: Tensor
    flat_L: Tensor
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """L, all tokens."""
        return sum(self.lengths)

    def to(self, device: torch.device | str) -> PackedRows:
        """Copy them to a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if name != "lengths"})

    def inputs(self, attention: str) -> dict[str, Any]:
        """Return what a model is called with, for this implementation of attention."""
        given: dict[str, Any] = {
            "input_ids": self.input_ids_1L,
            "position_ids": self.position_ids_1L,
            "use_cache": False,
        }
        if attention == FLASH:
            longest = max(self.lengths)
            ends = {"cu_seq_lens_q": self.starts, "cu_seq_lens_k": self.starts}
            return {**given, **ends, "max_length_q": longest, "max_length_k": longest}
        AttentionInterface.register(SDPA, attend)
        # A mask of four dimensions is handed on as it is: transformers would make one of L x L from the positions.
        unused = self.input_ids_1L.new_zeros((1, 1, 1, 1), dtype=torch.bool)
        return {**given, "attention_mask": unused, ARGUMENT: self}


def pack(input_ids_BS: Tensor, lengths: Sequence[int], positions_N: Tensor, rows_N: Tensor) -> PackedRows:
    """Lay rows end to end, in CPU memory.

    Args:
        input_ids_BS: rows, padded on the right.
        lengths: tokens of each.
        positions_N: index in its row of the token that predicts each response token.
        rows_N: the row of each response token.
    """
    lengths_B, width = torch.tensor(lengths), input_ids_BS.shape[1]
    starts_B = lengths_B.cumsum(0) - lengths_B
    places_BS = torch.arange(width).expand(len(lengths), -1)
    there_BS = places_BS < lengths_B[:, None]
    return PackedRows(
        input_ids_1L=input_ids_BS[there_BS][None],
        position_ids_1L=places_BS[there_BS][None],
        places_N=starts_B[rows_N] + positions_N,
        starts=torch.cat([starts_B, lengths_B.sum()[None]]).int(),
        padded_Q=(starts_B[:, None] + places_BS.where(there_BS, 0)).flatten(),
        flat_L=there_BS.flatten().nonzero()[:, 0],
        lengths=tuple(lengths),
    )


def why_not(model: object) -> str | None:
    """Say why a model's rows cannot be packed; None if they can.

    It must be a plain transformers model of an architecture in `shared_prefix.EXACT`, in which a token sees all tokens
    of its row before it, and whose attention is computed by a function that can be told where rows begin.
    """
    if not isinstance(model, PreTrainedModel):
        return "passes are compiled"
    attention = model.config._attn_implementation
    if attention not in (SDPA, FLASH):
        return f"attention: {attention} computes rows of one length only; {SDPA} and {FLASH} can"
    if not sees_all_before(model) or "position_ids" not in inspect.signature(model.base_model.forward).parameters:
        return f"no test shows that {model.config.model_type} with this configuration would compute the same"
    return None


def has_kernels(model: object) -> bool:
    """Whether a model's attention has kernels for rows of variable length; see `why_not` for the rest."""
    return isinstance(model, PreTrainedModel) and model.config._attn_implementation == FLASH


def attend(
    module: torch.nn.Module,
    query_BHSD: Tensor,
    key_BGSD: Tensor,
    value_BGSD: Tensor,
    attention_mask: Tensor | None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within each of the packed rows, if there are any; else as transformers' ``sdpa``.

    Args:
        module: the attention layer.
        query_BHSD, key_BGSD, value_BGSD: heads; with packed rows B is 1 and S is L.
        attention_mask: unused with packed rows.
        others: see `transformers.integrations.sdpa_attention`; `ARGUMENT` has the packed rows.

    Returns:
        [B, S, H, D] and None.
    """
    rows: PackedRows | None = others.pop(ARGUMENT, None)
    if rows is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_BHSD, key_BGSD, value_BGSD, attention_mask, **others
        )
        return plain
    query_BHSD, key_BGSD, value_BGSD = (_padded(one, rows) for one in (query_BHSD, key_BGSD, value_BGSD))
    attended_BSHD, _ = sdpa_attention_forward(module, query_BHSD, key_BGSD, value_BGSD, None, **others)
    attended_LHD: Tensor = _Pick.apply(attended_BSHD.flatten(0, 1), rows.flat_L)
    return attended_LHD[None], None


def _padded(heads_1HLD: Tensor, rows: PackedRows) -> Tensor:
    """Pad rows on the right, [B, H, S, D]: one kernel then computes all of them, whatever the device."""
    placed_QHD: Tensor = _Place.apply(heads_1HLD[0].transpose(0, 1), rows.padded_Q, rows.flat_L)
    return placed_QHD.unflatten(0, (len(rows.lengths), -1)).transpose(1, 2)


class _Place(torch.autograd.Function):
    """Tokens to their places in padded rows. The gradient takes the same way back, without that of the padding.

    Autograd would add up gradients by index, which takes longer, and on a GPU in no fixed order.
    """

    @staticmethod
    def forward(ctx: Any, packed_LHD: Tensor, padded_Q: Tensor, flat_L: Tensor) -> Tensor:
        """Save the way back."""
        ctx.save_for_backward(flat_L)
        return packed_LHD.index_select(0, padded_Q)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Pick the gradients of tokens."""
        (flat_L,) = ctx.saved_tensors
        return gradients[0].index_select(0, flat_L), None, None


class _Pick(torch.autograd.Function):
    """Tokens from their places in padded rows; the gradient of the padding is 0."""

    @staticmethod
    def forward(ctx: Any, placed_QHD: Tensor, flat_L: Tensor) -> Tensor:
        """Save the way back."""
        ctx.save_for_backward(flat_L)
        ctx.places = len(placed_QHD)
        return placed_QHD.index_select(0, flat_L)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Put the gradients of tokens to their places."""
        (flat_L,) = ctx.saved_tensors
        placed_QHD = gradients[0].new_zeros((ctx.places, *gradients[0].shape[1:]))
        return placed_QHD.index_copy_(0, flat_L, gradients[0]), None
