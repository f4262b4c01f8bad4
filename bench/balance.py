"""Simulate how much of eight ranks' time goes to tokens of rows, with micro-batches cut singly and in balanced rounds.

    python bench/balance.py [--ranks 8] [--draws 20]

A simulation on a CPU: lengths are drawn, rows are cut as a training cuts them, and no model runs. Time is counted in
tokens: a micro-batch of B rows takes B x (longest row), padding included, and a pass that does not count takes as long
as its micro-batch. The useful share is

    sum of all rows' tokens / (ranks x time until the last rank is done)

Free: ranks run on their own until the optimizer step (ZeRO 0 and 1), so the time is the largest of the ranks' sums.
In step: they wait for each other in every pass (ZeRO 2 and 3 exchange gradients or weights in it), so the time is the
sum over passes of the largest micro-batch. With attention: in step, and a token of a row of n takes 1 + A n, with
A = hidden size x layers / parameters of Qwen2.5-1.5B: the FLOPs of attention beside those of the linear layers.

"Before" is one list of micro-batches as for a single device, of which each rank takes every eighth, with extra passes
that do not count for ranks with fewer.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from astarpo.training.balance import balanced_cut  # noqa: E402 (the path comes first)
from astarpo.training.microbatches import cut  # noqa: E402
from bench.report import Measured, record  # noqa: E402

ATTENTION = 1536 * 28 / 1_543_714_304


@dataclass(frozen=True)
class Lengths:
    """A log-normal distribution of lengths in tokens; longer ones have the cap's, as a response cut off has.

    Attributes:
        median: of the distribution before the cap.
        sigma: standard deviation of the natural logarithm.
        cap: longest.
    """

    median: float
    sigma: float
    cap: int

    def draw(self, generator: random.Random) -> int:
        return min(self.cap, max(1, round(generator.lognormvariate(math.log(self.median), self.sigma))))


@dataclass(frozen=True)
class Case:
    """The rows of an optimizer step.

    Attributes:
        rows: number of rows.
        prompt, response: their lengths; a row has the sum.
        size, tokens: `machine.micro_batch` and `machine.micro_batch_tokens`.
        each: consecutive rows with the same prompt.
    """

    rows: int
    prompt: Lengths
    response: Lengths
    size: int
    tokens: int | None
    each: int = 1

    def draw(self, generator: random.Random) -> list[int]:
        """Draw the tokens of each row."""
        prompts = [self.prompt.draw(generator) for _ in range(self.rows // self.each)]
        return [prompt + self.response.draw(generator) for prompt in prompts for _ in range(self.each)]


# Medians and caps near what the models write; at their caps are about 6, 9, 5 and 25 % of the responses.
MATH = Lengths(90, 0.5, 256), Lengths(430, 0.55, 1024)
R1_DISTILL = Lengths(110, 0.5, 1024), Lengths(5000, 0.85, 15_360)
SMOLLM2_GSM8K = Lengths(90, 0.35, 320), Lengths(110, 0.5, 256)
SMOLLM2_SUMS = Lengths(60, 0.1, 80), Lengths(4, 0.5, 6)
CASES = {
    "MATH at 1K": Case(256, *MATH, 64, 8192),
    "MATH at 1K, two updates": Case(128, *MATH, 64, 8192),
    "MATH at 1K, groups of 8": Case(512, *MATH, 64, 8192, each=8),
    "R1-distill at 16K": Case(256, *R1_DISTILL, 16, 16_384),
    "R1-distill at 16K, 64 rows": Case(64, *R1_DISTILL, 16, 16_384),
    "SmolLM2, GSM8K": Case(256, *SMOLLM2_GSM8K, 64, 8192),
    "SmolLM2, GSM8K, no token limit": Case(256, *SMOLLM2_GSM8K, 32, None),
    "SmolLM2, sums": Case(256, *SMOLLM2_SUMS, 64, 8192),
    "SmolLM2, GSM8K, 64 rows": Case(64, *SMOLLM2_GSM8K, 8, None),
}


@dataclass(frozen=True)
class Shares:
    """The useful shares of ranks' time, and the passes of each rank, of which some may not count."""

    free: float
    in_step: float
    with_attention: float
    passes: float


def useful_shares(micro_batches: Sequence[Sequence[int]], lengths: Sequence[int], ranks: int, extra: int) -> Shares:
    """Compute the useful shares of a cut, see the module.

    Args:
        micro_batches: rows of each; rank r makes the passes r, r + ranks, and so on.
        lengths: tokens of every row.
        ranks: number of ranks.
        extra: index of the micro-batch whose pass does not count, for ranks with fewer than others.
    """
    passes = -(-len(micro_batches) // ranks)
    made = [*micro_batches, *[micro_batches[extra]] * (passes * ranks - len(micro_batches))]

    def times(attention: float) -> list[float]:
        longest = [max(lengths[row] for row in rows) for rows in made]
        return [len(rows) * most * (1 + attention * most) for rows, most in zip(made, longest, strict=True)]

    def in_step(attention: float) -> float:
        slowest = sum(max(times(attention)[first : first + ranks]) for first in range(0, len(made), ranks))
        return sum(length * (1 + attention * length) for length in lengths) / (ranks * slowest)

    last = max(sum(times(0.0)[rank::ranks]) for rank in range(ranks))
    return Shares(sum(lengths) / (ranks * last), in_step(0.0), in_step(ATTENTION), passes)


def compare(case: Case, ranks: int, seed: int) -> tuple[Shares, Shares]:
    """Draw lengths and return the shares before and after."""
    lengths = case.draw(random.Random(seed))
    told = range(case.rows), lengths, case.size, case.tokens, range(case.rows)
    return useful_shares(cut(*told), lengths, ranks, 0), useful_shares(balanced_cut(*told, ranks), lengths, ranks, -1)


def cells_of(before: Sequence[Shares], after: Sequence[Shares]) -> list[str]:
    """Return a row of the table: means before and after, and the least after."""
    cells = []
    for column in ("free", "in_step", "with_attention", "passes"):
        old, new = [statistics.mean(getattr(one, column) for one in ones) for ones in (before, after)]
        least = min(getattr(one, column) for one in after)
        cells.append(f"{old:.1f}, {new:.1f}" if column == "passes" else f"{old:.2f}, {new:.2f} ({least:.2f})")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=8, help="that train together (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="of lengths in each case (default: %(default)s)")
    arguments = parser.parse_args()
    command = f"python bench/balance.py --ranks {arguments.ranks} --draws {arguments.draws}"
    print("Simulated on a CPU; useful share of the ranks' time before, and after (the least of the draws in brackets).")
    print("| rows of an optimizer step | free | in step | with attention | passes of a rank |")
    print("| --- | ---: | ---: | ---: | ---: |")
    measured: list[Measured] = []
    for name, case in CASES.items():
        pairs = [compare(case, arguments.ranks, seed) for seed in range(arguments.draws)]
        before, after = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        print(f"| {name} | {' | '.join(cells_of(before, after))} |", flush=True)
        old, new = [statistics.mean(one.in_step for one in ones) for ones in (before, after)]
        named = f"useful share of {arguments.ranks} ranks in step, simulated: {name}"
        measured.append(Measured(name=named, ours=new, theirs=old, ratio=new / old, unit="share", command=command))
    record(measured, shown=False)


if __name__ == "__main__":
    main()
