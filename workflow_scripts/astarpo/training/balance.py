"""Cutting the rows of an optimizer step for several ranks: equally many micro-batches each, of nearly equal tokens."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

# What a pass costs beside its tokens, in tokens: in the time in which an H100 moves weights and fp32 gradients once
# (about 16 bytes a weight at 3.35 TB/s), it computes 300 tokens (8 FLOPs a weight and token at 500 TFLOP/s).
PASS_TOKENS = 256
CAPS = 16  # that are tried for each round


@dataclass(frozen=True)
class Unit:
    """Rows that stay together: a single row, or a group.

    Attributes:
        rows: their numbers in the rollout.
        longest: tokens of the longest of them.
        tokens: of all of them, without padding.
    """

    rows: list[int]
    longest: int
    tokens: int


def units_by_length(rows: Sequence[int], lengths: Sequence[int], groups: Sequence[int]) -> list[Unit]:
    """Return the groups of the rows, from the shortest to the longest; a group's length is that of its longest row.

    Args:
        rows: the rows of one optimizer step.
        lengths, groups: of every row of the rollout.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        members[groups[row]].append(row)
    units = [
        Unit(together, max(lengths[row] for row in together), sum(lengths[row] for row in together))
        for together in members.values()
    ]
    return sorted(units, key=lambda unit: (unit.longest, unit.rows[0]))


def balanced_cut(
    rows: Sequence[int],
    lengths: Sequence[int],
    size: int,
    tokens: int | None,
    groups: Sequence[int],
    ranks: int,
    packed: bool = False,
) -> list[list[int]]:
    """Cut rows into rounds of one micro-batch for each rank, so that ranks wait little for each other.

    Ranks are in step where they exchange gradients or weights in each pass. A round then takes as long as its largest
    micro-batch, and the cut is one that minimises the sum over rounds of

        max over the round of (rows x longest row, or, packed, the sum of rows) + PASS_TOKENS

    among rounds of neighbours in length. Each round is filled up to a cap in tokens; a few caps are tried for each,
    and the best sequence of rounds follows by dynamic programming.

    Args:
        rows, lengths, size, tokens, groups, packed: as for `microbatches.cut`.
        ranks: that make a pass at a time, >= 1.

    Returns:
        The rows of each micro-batch, the longest first; rank r has those numbered r, r + ranks, and so on. Their number
        is a multiple of the ranks, unless the groups are too few for that within the limits: the last round is then
        incomplete.
    """
    units = units_by_length(rows, lengths, groups)[::-1]
    rounds = (_PackedRounds if packed else _Rounds)(units, size, sys.maxsize if tokens is None else tokens, ranks)
    return [
        [row for unit in units[start:end] for row in unit.rows]
        for first, ends in rounds.best()
        for start, end in zip([first, *ends], ends, strict=False)
    ]


@dataclass(frozen=True, order=True)
class _Cost:
    """Of a sequence of rounds: first the micro-batches that are missing in it, then its time in tokens."""

    missing: int
    tokens: int


class _Rounds:
    """The rounds into which units can be cut; a round is the ends of its micro-batches in the list of units.

    Args:
        units: from the longest to the shortest.
        size, tokens: maximum of a micro-batch.
        ranks: micro-batches of a round.
    """

    def __init__(self, units: Sequence[Unit], size: int, tokens: int, ranks: int) -> None:
        self.units, self.size, self.tokens, self.ranks = units, size, tokens, ranks
        self.rows_before = [0, *accumulate(len(unit.rows) for unit in units)]

    def best(self) -> list[tuple[int, list[int]]]:
        """Return the rounds of the least cost, each as its first unit and its ends."""
        count = len(self.units)
        # By the first unit that is left: the least cost so far, and the round that led there.
        reached: dict[int, tuple[_Cost, int, list[int]]] = {0: (_Cost(0, 0), 0, [])}
        for start in range(count):
            if start not in reached:
                continue
            so_far = reached[start][0]
            for cap in self._caps(start):
                ends = self._round(start, cap)
                slowest = max(map(self._tokens, [start, *ends], ends))
                missing = so_far.missing + self.ranks - len(ends)
                cost = _Cost(missing, so_far.tokens + slowest + PASS_TOKENS)
                if ends[-1] not in reached or cost < reached[ends[-1]][0]:
                    reached[ends[-1]] = cost, start, ends
        rounds, end = [], count
        while end:
            _, start, ends = reached[end]
            rounds.append((start, ends))
            end = start
        return rounds[::-1]

    def _tokens(self, start: int, end: int) -> int:
        """Return the tokens of a micro-batch, including padding."""
        return (self.rows_before[end] - self.rows_before[start]) * self.units[start].longest

    def _caps(self, start: int) -> Iterator[int]:
        """Yield caps on the micro-batches of a round: some from the limits down to a single unit, and one that fits.

        The last is the least with which the round takes all units that are left, if it can.
        """
        least = self._tokens(start, start + 1)
        most = min(self.tokens, self.size * self.units[start].longest)
        caps = range(least, max(least, most) + 1)
        yield from caps[:: -max(1, len(caps) // CAPS)]
        fitting = bisect_left(caps, True, key=lambda cap: self._round(start, cap)[-1] == len(self.units))
        if fitting < len(caps):
            yield caps[fitting]

    def _round(self, start: int, cap: int) -> list[int]:
        """Return the ends of a round's micro-batches, none above the cap if it has more than one unit."""
        count = len(self.units)
        ends = self._ends(start, cap, count)
        # Another round needs a unit for each rank.
        if 0 < count - ends[-1] < self.ranks <= count - self.ranks - start:
            ends = self._ends(start, cap, count - self.ranks)
        return ends

    def _ends(self, start: int, cap: int, stop: int) -> list[int]:
        """Return as many ends as there are ranks, or units if they are fewer, up to ``stop``."""
        ends: list[int] = []
        for later in range(self.ranks - 1, -1, -1):
            if start == len(self.units):
                break
            # Leave a unit for each of the ranks that follow.
            start = max(start + 1, min(self._end(start, cap), stop - later))
            ends.append(start)
        return ends

    def _end(self, start: int, cap: int) -> int:
        """Return the end of the largest micro-batch from a unit on."""
        rows = min(self.size, min(cap, self.tokens) // self.units[start].longest)
        return max(start + 1, bisect_right(self.rows_before, self.rows_before[start] + rows) - 1)


class _PackedRounds(_Rounds):
    """Rounds of micro-batches whose rows are laid end to end, without padding."""

    def __init__(self, units: Sequence[Unit], size: int, tokens: int, ranks: int) -> None:
        super().__init__(units, size, tokens, ranks)
        self.tokens_before = [0, *accumulate(unit.tokens for unit in units)]

    def _tokens(self, start: int, end: int) -> int:
        return self.tokens_before[end] - self.tokens_before[start]

    def _end(self, start: int, cap: int) -> int:
        full = bisect_right(self.rows_before, self.rows_before[start] + self.size) - 1
        filled = bisect_right(self.tokens_before, self.tokens_before[start] + min(cap, self.tokens)) - 1
        return max(start + 1, min(full, filled))
