"""Simulated answers of two runs, to count how often comparisons err.

    PYTHONPATH=workflow_scripts python tests/simulation_case.py 4000

prints the table of docs/statistics.md, from so many repetitions.
"""

from __future__ import annotations

import sys
from math import sqrt

import numpy as np

from astarpo.evaluation.differences import difference

REPETITIONS = 400


def simulated(generator, seed_sd, seeds, gain=0.0, interaction=0.0, shared=0.0, problems=512, k=8):
    """Answers of two runs to the same problems, k each: shares right, [S, P] and [S, P].

    Problems are solved with chances spread evenly over [0, 1]. Seeds move a run by ``seed_sd`` points; a share
    ``shared`` of their variance is common to equal seeds of both. ``interaction`` makes a problem easier for one method
    and harder for the other. A problem of chance q is moved in proportion to 6 q (1 - q), which is 1 on average.
    """
    chance_P = generator.uniform(0, 1, problems)
    weight_P = 6 * chance_P * (1 - chance_P)
    kinder_P = generator.normal(0, interaction, problems)
    common_S1 = generator.normal(0, sqrt(shared), (seeds, 1))
    runs = []
    for sign in (1, -1):
        own_S1 = common_S1 + generator.normal(0, sqrt(1 - shared), (seeds, 1))
        move_SP = seed_sd / 100 * own_S1 + sign * (kinder_P + gain / 200)
        chance_SP = (chance_P + weight_P * move_SP).clip(0, 1)
        runs.append(generator.binomial(k, chance_SP) / k)
    return runs


def shares_told(seeds=3, shared_data=True, repetitions=REPETITIONS, **how):
    """How often two runs are called different: now, and by resampling problems alone, as was done before."""
    generator = np.random.default_rng(20)
    numbers = tuple(range(seeds))
    weights_RP = generator.multinomial(512, np.full(512, 1 / 512), size=2000) / 512
    now = before = 0
    for _ in range(repetitions):
        a_SP, b_SP = simulated(generator, seeds=seeds, **how)
        found = difference(a_SP, b_SP, numbers, numbers, shared_data)
        now += found.p_value < 0.05
        resampled_R = weights_RP @ (a_SP - b_SP).mean(axis=0)
        low, high = np.quantile(resampled_R, [0.025, 0.975])
        before += not low <= 0 <= high
    return now / repetitions, before / repetitions


def main() -> None:
    """Print how often two runs are called different, over the seeds' standard deviation."""
    repetitions = int(sys.argv[1])
    print("| seeds | true difference | deviation of the seeds | problems alone | problems and seeds |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    cases = [(3, 0, seed_sd) for seed_sd in (0.5, 1, 1.5, 2, 3)]
    cases += [(seeds, 0, seed_sd) for seeds in (2, 5, 10) for seed_sd in (1, 3)]
    cases += [(seeds, gain, 1) for seeds in (3, 5, 10) for gain in (2, 6)]
    for seeds, gain, seed_sd in cases:
        now, before = shares_told(seeds, repetitions=repetitions, seed_sd=seed_sd, gain=gain)
        print(f"| {seeds} | {gain} | {seed_sd} | {before:.1%} | {now:.1%} |", flush=True)


if __name__ == "__main__":
    main()
