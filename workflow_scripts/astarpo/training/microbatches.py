"""Cutting the rows of an optimizer step into micro-batches of similar length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from astarpo.model.log_probs import Batch, collate


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of a rollout, padded to their own longest; the rows are similar in length."""

    rows: list[int]
    batch: Batch

    def cut_out(self, all_BT: Tensor) -> Tensor:
        """Its rows of a tensor of the whole rollout, as wide as its own longest response."""
        return all_BT[self.rows, : self.batch.mask_BT.shape[1]]


def micro_batches(
    prompts: Sequence[list[int]],
    responses: Sequence[list[int]],
    rows: Sequence[int],
    groups: Sequence[int] | None,
    limits: tuple[int, int | None],
    end_token_ids: Sequence[int],
    device: torch.device,
) -> list[MicroBatch]:
    """Cut rows into micro-batches of similar length, each padded to its own longest.

    Args:
        prompts, responses: token ids of every row of the rollout.
        rows: the rows of one optimizer step.
        groups: of every row of the rollout, where the rows of a group must stay together: a micro-batch then takes
            whole groups only, and at least one, even if that is more than it should hold.
        limits: most sequences of a micro-batch, and most tokens with padding (None: any number).
        end_token_ids: see `log_probs.collate`.
        device: where the batches are made.
    """
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    whole = range(len(prompts)) if groups is None else groups
    return [
        MicroBatch(
            chosen,
            collate([prompts[row] for row in chosen], [responses[row] for row in chosen], end_token_ids, device),
        )
        for chosen in cut(rows, lengths, *limits, whole)
    ]


def cut(
    rows: Sequence[int],
    lengths: Sequence[int],
    size: int,
    tokens: int | None,
    groups: Sequence[int],
) -> list[list[int]]:
    """Cut rows into parts by length; groups stay whole, each judged by its longest row.

    Args:
        rows: the rows of one optimizer step.
        lengths: tokens of prompt and response of every row of the rollout.
        size: most rows of a part.
        tokens: most tokens of a part, its padding included; None: any number.
        groups: of every row; a part takes whole groups only, and one at least, even if that is more than it
            should hold.
    """
    units: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        units[groups[row]].append(row)

    def longest(unit: list[int]) -> int:
        return max(lengths[row] for row in unit)

    micro_batches: list[list[int]] = []
    for unit in sorted(units.values(), key=lambda unit: (longest(unit), unit[0])):
        count = len(micro_batches[-1]) + len(unit) if micro_batches else 0
        full = count > size or (tokens is not None and count * longest(unit) > tokens)
        if not micro_batches or full:
            micro_batches.append([])
        micro_batches[-1] += unit
    return micro_batches
