"""Whether two policies differ: intervals of differences, their p-values, and Holm's correction for many pairs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Literal, TypeVar

import numpy as np

from astarpo.evaluation.intervals import (
    LEVEL,
    Interval,
    critical_t,
    margin,
    p_value,
    spread,
    sum_of_variances,
    two_sided_tail,
)

Verdict = Literal["a_better", "b_better", "tied", "cannot_tell"]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Difference:
    """Policy a minus policy b.

    Attributes:
        interval: the difference with its 95 % interval, not corrected for other pairs.
        p_value: under the hypothesis of no difference; None if a run has one seed or there is one problem. The interval
            is then over problems alone.
        paired_by_seed: whether equal seeds were compared with each other.
    """

    interval: Interval
    p_value: float | None
    paired_by_seed: bool


def difference(
    a_SP: np.ndarray,
    b_TP: np.ndarray,
    seeds_a: Sequence[int] | None,
    seeds_b: Sequence[int] | None,
    shared_data: bool = True,
) -> Difference:
    """Compare two policies on the same problems.

    Problems are always paired, which removes the variance of their difficulty. Seeds are paired if both runs have the
    same ones and equal seeds mean the same data, which removes the variance that the data cause in both.

    Args:
        a_SP, b_TP: score of each problem in [0, 1], one row per seed, [S, P] and [T, P].
        seeds_a, seeds_b: the seed of each row; None for a policy without seeds, such as a reference.
        shared_data: whether equal seeds saw the same prompts in the same order.

    Returns:
        The difference of the means.

    Raises:
        ValueError: the numbers of problems differ, or those of seeds and rows.
    """
    if a_SP.shape[1] != b_TP.shape[1]:
        raise ValueError(f"scores of {a_SP.shape[1]} and of {b_TP.shape[1]} problems cannot be paired")
    for scores, seeds in ((a_SP, seeds_a), (b_TP, seeds_b)):
        if len(scores) != (1 if seeds is None else len(seeds)):
            raise ValueError(f"{len(scores)} rows of scores for the seeds {seeds}")
    paired = seeds_a is not None and shared_data and seeds_b == seeds_a
    testable = a_SP.shape[1] > 1 and not any(seeds and len(seeds) == 1 for seeds in (seeds_a, seeds_b))
    groups = [a_SP - b_TP] if paired else [a_SP, b_TP]
    by_problem_P = a_SP.mean(axis=0) - b_TP.mean(axis=0)
    components = spread(by_problem_P, [group for group in groups if testable and len(group) > 1])
    value = float(by_problem_P.mean())
    interval = _within_one(value, margin(components))
    return Difference(interval, p_value(components, value) if testable else None, paired)


def seed_difference(a: Mapping[int, float], b: Mapping[int, float], shared_data: bool = True) -> Difference | None:
    """Compare two runs by one score per seed, such as the accuracy on validation prompts that all share.

    The interval is the t interval of the differences seed by seed, or Welch's if seeds are not paired. It says how the
    difference would vary with other seeds, not with other prompts.

    Args:
        a, b: seed -> score in [0, 1].
        shared_data: as for `difference`.

    Returns:
        The difference of the means; None if a run has only one seed or nothing varies.
    """
    paired = shared_data and a.keys() == b.keys()
    if paired:
        groups = [np.array([a[seed] - b[seed] for seed in a])]
    else:
        groups = [np.array(list(scores.values())) for scores in (a, b)]
    if min(len(a), len(b)) < 2 or all(np.ptp(group) < 1e-12 for group in groups):
        return None
    variance, df = sum_of_variances(
        [float(np.var(group, ddof=1)) / len(group) for group in groups],
        [len(group) - 1 for group in groups],
    )
    value = float(np.mean(list(a.values())) - np.mean(list(b.values())))
    reach = critical_t(1 - LEVEL, df) * sqrt(variance)
    tail = two_sided_tail(abs(value) / sqrt(variance), df)
    return Difference(_within_one(value, reach), tail, paired)


def _within_one(value: float, reach: float) -> Interval:
    """The interval of a difference of shares, clipped to [-1, 1]."""
    return Interval(value, max(-1.0, value - reach), min(1.0, value + reach))


def compare_seed_scores(
    scores: Mapping[Name, Mapping[int, float]], data: Mapping[Name, Hashable] | None = None
) -> dict[tuple[Name, Name], tuple[Difference | None, Verdict]]:
    """Compare every two runs by one score per seed, corrected for the number of pairs.

    Args:
        scores: run -> seed -> score in [0, 1].
        data: run -> what determines, with the seed, the data that it sees; seeds are paired if this is equal.

    Returns:
        (run, run) -> `seed_difference` and the verdict after Holm's correction; the run with the higher mean is first.
    """
    data = data or {}
    ordered = sorted(scores, key=lambda run: -float(np.mean(list(scores[run].values()))))
    differences = {
        (a, b): seed_difference(scores[a], scores[b], data.get(a) == data.get(b)) for a, b in combinations(ordered, 2)
    }
    p_values = {pair: one.p_value for pair, one in differences.items() if one and one.p_value is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        pair: (one, verdict(one.interval.value if one else 0.0, corrected.get(pair)))
        for pair, one in differences.items()
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that any false rejection is at most as likely as with a single test.

    The i-th smallest of m is multiplied by m - i + 1, and raised to the largest of those before it (Holm 1979).

    Args:
        p_values: of one family of tests.

    Returns:
        The corrected ones, in the same order, at most 1.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def verdict(value: float, p_holm: float | None) -> Verdict:
    """Turn the difference a minus b and its corrected p-value into a verdict."""
    if p_holm is None:
        return "cannot_tell"
    if p_holm >= 1 - LEVEL:
        return "tied"
    return "a_better" if value > 0 else "b_better"
