"""Cutting the rows of an optimizer step into micro-batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from astarpo.model.log_probs import Batch, collate
from astarpo.training.balance import balanced_cut, units_by_length


@dataclass(frozen=True)
class MicroBatch:
    """Rows of a rollout of similar length, padded to the longest of them, and laid end to end where that is read.

    Attributes:
        rows: their numbers in the rollout.
        batch: their tokens.
        rows_B: the numbers on the device of the batch; a list would be sent there whenever it is an index.
    """

    rows: list[int]
    batch: Batch
    rows_B: Tensor

    def cut_out(self, all_BT: Tensor) -> Tensor:
        """Select its rows from a tensor of the whole rollout, cut to its longest response."""
        return all_BT[self.rows_B, : self.batch.mask_BT.shape[1]]


def micro_batches(
    prompts: Sequence[list[int]],
    responses: Sequence[list[int]],
    rows: Sequence[int],
    groups: Sequence[int] | None,
    limits: tuple[int, int | None],
    end_token_ids: Sequence[int],
    device: torch.device,
    ranks: int = 1,
    packed: bool = False,
    shared: bool = False,
) -> list[MicroBatch]:
    """Cut rows into micro-batches of similar length, each padded to its longest row.

    Args:
        prompts, responses: token ids of every row of the rollout.
        rows: the rows of one optimizer step.
        groups: of every row of the rollout, if groups must stay together: a micro-batch then holds whole groups, at
            least one, even if that exceeds its limits.
        limits: maximum sequences of a micro-batch, and maximum tokens including padding (None: no limit).
        end_token_ids: see `log_probs.collate`.
        device: of the batches.
        ranks: that share the micro-batches; for several they are cut by `balanced_cut`.
        packed: whether rows of unequal length are laid end to end, so that padding counts for nothing.
        shared: whether rows that share something are laid end to end after it, see `model.shared_layout`.
    """
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    whole = range(len(prompts)) if groups is None else groups
    if ranks == 1:
        cuts = cut(rows, lengths, *limits, whole, packed)
    else:
        cuts = balanced_cut(rows, lengths, *limits, whole, ranks, packed)

    def made(chosen: list[int]) -> MicroBatch:
        texts = [prompts[row] for row in chosen], [responses[row] for row in chosen]
        unequal = len({lengths[row] for row in chosen}) > 1
        batch = collate(*texts, end_token_ids, device, packed and unequal, shared)
        return MicroBatch(chosen, batch, torch.tensor(chosen, device=device))

    return [made(chosen) for chosen in cuts]


def cut(
    rows: Sequence[int],
    lengths: Sequence[int],
    size: int,
    tokens: int | None,
    groups: Sequence[int],
    packed: bool = False,
) -> list[list[int]]:
    """Cut rows into micro-batches by length, keeping groups whole; a group's length is that of its longest row.

    Args:
        rows: the rows of one optimizer step.
        lengths: tokens of prompt and response of every row of the rollout.
        size: maximum rows of a micro-batch.
        tokens: maximum tokens of a micro-batch, including padding unless ``packed``; None: no limit.
        groups: of every row; a micro-batch holds whole groups, at least one, even if that exceeds its limits.
        packed: whether a micro-batch costs the sum of its rows, not their number times the longest.
    """
    micro_batches: list[list[int]] = []
    total = 0
    for unit in units_by_length(rows, lengths, groups):
        count = len(micro_batches[-1]) + len(unit.rows) if micro_batches else 0
        cost = total + unit.tokens if packed else count * unit.longest
        full = count > size or (tokens is not None and cost > tokens)
        if not micro_batches or full:
            micro_batches.append([])
            total = 0
        micro_batches[-1] += unit.rows
        total += unit.tokens
    return micro_batches


def shares_of(group_ids: Sequence[int], count: int) -> list[list[int]]:
    """Cut rows into ``count`` contiguous shares without splitting a group (a prompt's responses)."""
    groups = list(dict.fromkeys(group_ids))
    shares = []
    for number in range(count):
        chosen = set(groups[len(groups) * number // count : len(groups) * (number + 1) // count])
        shares.append([row for row, group in enumerate(group_ids) if group in chosen])
    return shares
