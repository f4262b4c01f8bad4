"""What rows of a batch share, laid end to end with the rests of the rows, so that a single pass reads each token once.

A second way to read a common beginning and common prompts, beside `shared_prefix` and `shared_prompts`, which call the
model once for what is shared and once for the rests. DeepSpeed gathers the weights of a module for each call of it, in
an order that must be the same in all processes: here it is called once, whatever the rows of a process share.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.attention import SDPA
from astarpo.model.packing import Layout, PackedRows, why_not
from astarpo.model.shared_prompts import find_shared


def why_not_shared(model: object) -> str | None:
    """Say why a model cannot read rows laid out so; None if it can. It must be one whose rows can be packed."""
    if isinstance(model, PreTrainedModel) and model.config._attn_implementation != SDPA:
        return f"attention: {model.config._attn_implementation} cannot go on from what rows share; {SDPA} can"
    return why_not(model)


def lay_out(input_ids_BS: Tensor, lengths: Sequence[int], mask_BT: Tensor, positions_BT: Tensor) -> PackedRows | None:
    """Lay rows end to end, in CPU memory, with what they share once before them.

    Args:
        input_ids_BS: prompts and responses, padded on the right.
        lengths: tokens of each.
        mask_BT: True at response tokens.
        positions_BT: index in its row of the token that predicts each.

    Returns:
        None if they share too little, see `find_shared`.
    """
    prefix, contexts = find_shared(input_ids_BS, mask_BT, positions_BT)
    if not prefix and contexts is None:
        return None
    layout, begins_B = Layout(), torch.full((len(lengths),), prefix)
    parents_B = torch.zeros_like(begins_B)
    if prefix:
        layout.add(input_ids_BS[:1], torch.tensor([0]), torch.tensor([prefix]))
    if contexts is not None:
        ends_U = (contexts.ids_UP >= 0).sum(1)
        begins_U = torch.full_like(ends_U, prefix)
        layout.add(contexts.ids_UP, begins_U, ends_U, torch.zeros_like(ends_U) if prefix else None)
        begins_B, parents_B = contexts.lengths_B, contexts.of_row_B
    starts_B, _ = layout.add(input_ids_BS, begins_B, torch.tensor(lengths), parents_B)
    rows_N, columns_N = mask_BT.nonzero(as_tuple=True)
    places_N = (starts_B - begins_B)[rows_N] + positions_BT[rows_N, columns_N]
    return layout.packed(places_N, starts_B, max(lengths))
