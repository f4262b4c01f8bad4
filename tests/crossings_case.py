"""Simulated curves of two runs, to see how far smoothing removes the advantage of noise and how often intervals err.

    PYTHONPATH=workflow_scripts python tests/crossings_case.py 2000

prints the tables of docs/statistics.md, from so many repetitions.
"""

from __future__ import annotations

import sys

import numpy as np

from astarpo.evaluation.crossings import crossing, race, smoothed

AMOUNTS = np.linspace(0, 100, 21)
NOISES = ((2, 2), (4, 1), (1, 4))


def simulated(generator, noise, speed=1.0, seeds=1):
    """Curves of a run by seed: from 0.36 to about 0.56, with seeds that deviate by 0.02, and noise in points."""
    gains = generator.normal(0.2, 0.02, seeds)
    shape_K = 1 - np.exp(-speed * AMOUNTS / 30)
    return {seed: 0.36 + gain * shape_K + generator.normal(0, noise / 100, 21) for seed, gain in enumerate(gains)}


def shares_called_faster(noises, repetitions):
    """How often a is called at least a tenth faster than b, an equal method: by raw and by smoothed curves."""
    generator = np.random.default_rng(30)
    raw = smooth = 0
    for _ in range(repetitions):
        a_K, b_K = (simulated(generator, noise)[0] for noise in noises)
        first = crossing(AMOUNTS, a_K, b_K[-1])
        raw += first is not None and first <= 0.9 * AMOUNTS[-1]
        found = race(*({0: smoothed(AMOUNTS, curve_K)} for curve_K in (a_K, b_K)))
        smooth += found.amount is not None and found.amount <= 0.9 * found.target_amount
    return raw / repetitions, smooth / repetitions


def shares_covered(noises, seeds, repetitions):
    """How often the interval has the true time, 50, and how often it is open; a is twice as fast as b."""
    generator = np.random.default_rng(40)
    covered = is_open = 0
    for _ in range(repetitions):
        curves = [simulated(generator, noise, speed, seeds) for noise, speed in zip(noises, (0.6, 0.3), strict=True)]
        found = race(*({seed: smoothed(AMOUNTS, one_K) for seed, one_K in run.items()} for run in curves))
        high = np.inf if found.high is None else found.high
        covered += found.low <= 50 <= high
        is_open += found.high is None
    return covered / repetitions, is_open / repetitions


def main() -> None:
    """Print both tables."""
    repetitions = int(sys.argv[1])
    print("| noise of a | of b | first point above the end | smoothed |")
    print("| ---: | ---: | ---: | ---: |")
    for noises in NOISES:
        raw, smooth = shares_called_faster(noises, repetitions)
        print(f"| {noises[0]} | {noises[1]} | {raw:.0%} | {smooth:.0%} |", flush=True)
    print("\n| seeds | noise of a | of b | contains the true time | open |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for seeds in (3, 5, 10):
        for noises in NOISES:
            covered, is_open = shares_covered(noises, seeds, repetitions // 2)
            print(f"| {seeds} | {noises[0]} | {noises[1]} | {covered:.1%} | {is_open:.1%} |", flush=True)


if __name__ == "__main__":
    main()
