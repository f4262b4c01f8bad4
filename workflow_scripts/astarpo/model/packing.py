"""Packing: rows of a batch laid end to end in one row, so that no padding is computed.

Positions begin anew in each of the packed rows, and each attends to itself alone: with flash attention by its kernels
for variable lengths, with ``sdpa`` by padding queries, keys and values for attention alone. Everything else of a layer
computes each token by itself. With ``sdpa`` rows may also go on from pieces that they share, see `shared_layout`.
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
from astarpo.model.passing_cache import passing_cache
from astarpo.model.shared_prefix import sees_all_before

ARGUMENT = "packed_rows"  # by which transformers hands the rows on from a model's call to its layers' attention


@dataclass(frozen=True)
class Pieces:
    """N pieces of a packed row that attend together: whole rows, or what is left of rows after what they share.

    Attributes:
        first, count: index of their first token in the packed row, and the number of all their tokens.
        padded_Q: where they are padded for a moment: the index of the token at each of the N x S places among theirs,
            one of its piece where there is none.
        flat_C: the place of each of their tokens among the N x S.
        number: N.
        parents_N: which of the pieces before each goes on from; None: they begin rows.
        seen_N1SK: with parents, which of the places of the parent, those before it and its own a place sees.
    """

    first: int
    count: int
    padded_Q: Tensor
    flat_C: Tensor
    number: int
    parents_N: Tensor | None = None
    seen_N1SK: Tensor | None = None

    def to(self, device: torch.device | str) -> Pieces:
        """Copy them to a device."""
        return replace(self, **_sent(self, device))

    def padded(self, heads_1HLD: Tensor) -> Tensor:
        """Pad pieces on the right, [N, H, S, D]: one kernel then computes all of them, whatever the device."""
        heads_LHD = heads_1HLD[0].transpose(0, 1)
        if self.count < len(heads_LHD):
            heads_LHD = heads_LHD.narrow(0, self.first, self.count)
        placed_QHD: Tensor = _Place.apply(heads_LHD, self.padded_Q, self.flat_C)
        return placed_QHD.unflatten(0, (self.number, -1)).transpose(1, 2)

    def after(self, parents_MHKD: Tensor, own_NHSD: Tensor) -> Tensor:
        """Put keys or values of each piece's parent before its own; gradients of a parent's children add up."""
        assert self.parents_N is not None
        if len(parents_MHKD) == 1:
            before_NHKD = parents_MHKD.expand(self.number, -1, -1, -1)
        else:
            before_NHKD = parents_MHKD.index_select(0, self.parents_N)
        return torch.cat([before_NHKD, own_NHSD], dim=2)


@dataclass(frozen=True)
class PackedRows:
    """Rows laid end to end.

    Attributes:
        input_ids_1L: their L tokens.
        position_ids_1L: of each token in its own row.
        places_N: index of the token that predicts each response token.
        starts: index of the first token of each row, and L, as int32; what kernels for variable lengths take.
        longest: tokens of the longest row.
        pieces: the rows; or what they share, which is there once, and their rests.
    """

    input_ids_1L: Tensor
    position_ids_1L: Tensor
    places_N: Tensor
    starts: Tensor
    longest: int
    pieces: tuple[Pieces, ...]

    @property
    def tokens(self) -> int:
        """L, all tokens."""
        return self.input_ids_1L.shape[1]

    def to(self, device: torch.device | str) -> PackedRows:
        """Copy them to a device."""
        return replace(self, **_sent(self, device), pieces=tuple(one.to(device) for one in self.pieces))

    def inputs(self, model: PreTrainedModel, cached: bool) -> dict[str, Any]:
        """Return what a model is called with.

        Args:
            model: whose rows can be packed, see `why_not`.
            cached: whether it can be given a cache, as `passing_cache` says. With flash attention and without one,
                transformers looks where rows begin, though it is told, and the host waits for the answer.
        """
        given: dict[str, Any] = {
            "input_ids": self.input_ids_1L,
            "position_ids": self.position_ids_1L,
            "use_cache": False,
        }
        if model.config._attn_implementation == FLASH:
            ends = {"cu_seq_lens_q": self.starts, "cu_seq_lens_k": self.starts}
            longest = {"max_length_q": self.longest, "max_length_k": self.longest}
            return {**given, **ends, **longest, "past_key_values": passing_cache(model) if cached else None}
        AttentionInterface.register(SDPA, attend)
        # A mask of four dimensions is handed on as it is: transformers would make one of L x L from the positions.
        unused = self.input_ids_1L.new_zeros((1, 1, 1, 1), dtype=torch.bool)
        return {**given, "attention_mask": unused, ARGUMENT: self}


def _sent(of: object, device: torch.device | str) -> dict[str, Any]:
    return {name: value.to(device) for name, value in vars(of).items() if isinstance(value, Tensor)}


class Layout:
    """Lays pieces end to end, in CPU memory: first what rows begin with, then what goes on from it.

    Attributes:
        ids, positions: of the tokens of the pieces so far.
        pieces: so far.
    """

    def __init__(self) -> None:
        self.ids: list[Tensor] = []
        self.positions: list[Tensor] = []
        self.pieces: list[Pieces] = []
        self._held_NK: Tensor  # which places of the last pieces, and of those before them, have a token

    def add(
        self, source_NS: Tensor, begins_N: Tensor, ends_N: Tensor, parents_N: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """Add pieces, ``source_NS[n, begins_N[n] : ends_N[n]]``, that all go on from the last ones, or begin rows.

        Args:
            source_NS: their tokens.
            begins_N, ends_N: positions of the first of each piece, and after its last.
            parents_N: which of the last pieces each goes on from.

        Returns:
            Index of the first token of each in the packed row, and the tokens of the longest.
        """
        lengths_N = (ends_N - begins_N).clamp(min=0)
        starts_N, count, longest = lengths_N.cumsum(0) - lengths_N, int(lengths_N.sum()), int(lengths_N.max())
        places_S = torch.arange(longest)
        there_NS = places_S < lengths_N[:, None]
        positions_NS, first = begins_N[:, None] + places_S, sum(map(len, self.ids))
        self.ids.append(source_NS.gather(1, positions_NS.clamp(max=source_NS.shape[1] - 1))[there_NS])
        self.positions.append(positions_NS[there_NS])
        padded_NS = (starts_N[:, None] + places_S.where(there_NS, 0)).clamp(max=count - 1)
        placed = first, count, padded_NS.flatten(), there_NS.flatten().nonzero()[:, 0], len(lengths_N)
        if parents_N is None:
            self.pieces.append(Pieces(*placed))
            self._held_NK = there_NS
        else:
            before_NK = self._held_NK[parents_N]
            own_SS = torch.ones((longest, longest), dtype=torch.bool).tril()
            each = (len(lengths_N), longest, -1)
            seen_NSK = torch.cat([before_NK[:, None].expand(each), own_SS.expand(each)], dim=2)
            self.pieces.append(Pieces(*placed, parents_N, seen_NSK[:, None]))
            self._held_NK = torch.cat([before_NK, there_NS], dim=1)
        return first + starts_N, longest

    def packed(self, places_N: Tensor, starts_B: Tensor, longest: int) -> PackedRows:
        """Return all of it; see `PackedRows`."""
        ids_L = torch.cat(self.ids)
        starts = torch.cat([starts_B, torch.tensor([len(ids_L)])]).int()
        return PackedRows(ids_L[None], torch.cat(self.positions)[None], places_N, starts, longest, tuple(self.pieces))


def pack(input_ids_BS: Tensor, lengths: Sequence[int], positions_N: Tensor, rows_N: Tensor) -> PackedRows:
    """Lay rows end to end, in CPU memory.

    Args:
        input_ids_BS: rows, padded on the right.
        lengths: tokens of each.
        positions_N: index in its row of the token that predicts each response token.
        rows_N: the row of each response token.
    """
    layout, lengths_B = Layout(), torch.tensor(lengths)
    starts_B, longest = layout.add(input_ids_BS, torch.zeros_like(lengths_B), lengths_B)
    return layout.packed(starts_B[rows_N] + positions_N, starts_B, longest)


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
    attended: list[Tensor] = []
    before: tuple[Tensor, Tensor] | None = None
    for pieces in rows.pieces:
        query_NHSD, *kept = (pieces.padded(one) for one in (query_BHSD, key_BGSD, value_BGSD))
        key_NGKD, value_NGKD = kept if before is None else map(pieces.after, before, kept)
        attended_NSHD, _ = sdpa_attention_forward(module, query_NHSD, key_NGKD, value_NGKD, pieces.seen_N1SK, **others)
        attended.append(_Pick.apply(attended_NSHD.flatten(0, 1), pieces.flat_C))
        before = key_NGKD, value_NGKD
    attended_LHD = attended[0] if len(attended) == 1 else torch.cat(attended)
    return attended_LHD[None], None


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
