"""Cutting the rows of an optimizer step into micro-batches of similar length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.model.log_probs import Batch


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of a rollout, padded to their own longest; the rows are similar in length."""

    rows: list[int]
    batch: Batch


def cut(
    rows: Sequence[int],
    lengths: Sequence[int],
    size: int,
    tokens: int | None,
    groups: Sequence[int],
) -> list[list[int]]:
    """Cut rows into micro_batches by length; groups stay whole, each judged by its longest row.

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
