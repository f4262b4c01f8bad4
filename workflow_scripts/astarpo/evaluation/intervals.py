"""Confidence intervals for shares of correct answers, over problems and over the seeds of a run.

Two things vary: the problems that a benchmark happens to contain, and the seeds that a run happens to have. With few
seeds the variance between them is poorly known, which the t quantile with ``seeds - 1`` degrees of freedom accounts
for; a bootstrap over three seeds is far too narrow. docs/statistics.md explains the method and shows how often it errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
ROUNDING = 1e-10  # smaller than any nonzero difference of shares
SMALLEST_P = 1e-90  # smaller p-values are replaced by this one
OVER_BOTH = "problems and seeds"
OVER_PROBLEMS = "problems"


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """Components of the squared standard error of a mean over problems (and seeds).

    Attributes:
        seeds: variance from the choice of seeds; 0 if seeds do not vary.
        seed_df: its degrees of freedom.
        problems: further variance from the choice of problems.
        problems_alone: variance from the choice of problems with the policies taken as fixed.
        n_problems: P.
    """

    seeds: float
    seed_df: float
    problems: float
    problems_alone: float
    n_problems: int


def critical_t(p: float, df: float) -> float:
    """The two-sided critical value of Student's t at level ``p``: 4.303 for 0.05 and 2 degrees of freedom."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, p / 2))


def two_sided_tail(t: float, df: float) -> float:
    """Probability that Student's t with ``df`` degrees of freedom is at least ``t`` away from 0."""
    from scipy.special import stdtr

    return 2.0 * float(stdtr(df, -t))


def spread(scores_P: np.ndarray, seed_groups: Sequence[np.ndarray] = ()) -> Spread:
    """Split the variance of a mean into components for seeds and problems.

    Scores are modelled as y_sp = mean + seed_s + problem_p + rest_sp. The variance between the means of S seeds
    over P problems, divided by S, estimates var(seed)/S + var(rest)/(S P); that between the problems' means,
    divided by P, estimates var(problem)/P + var(rest)/(S P). The last term is in both, so it is subtracted
    once; the mean square of the interaction estimates it (two-way random effects; Searle, Casella and McCulloch 1992).
    The variances of independent groups of seeds add up, with Welch's degrees of freedom.

    Args:
        scores_P: score of each problem, averaged over seeds, [P].
        seed_groups: arrays [S, P], S >= 2, one for each set of seeds that vary independently of the others: the scores
            of a run, or differences seed by seed.

    Returns:
        The components.
    """
    n_problems = len(scores_P)
    alone = float(np.var(scores_P, ddof=1)) / n_problems if n_problems > 1 else 0.0
    by_group = [_seed_variance(group_SP) for group_SP in seed_groups]
    rest = sum(interaction for _, interaction in by_group)
    between, df = sum_of_variances([seeds for seeds, _ in by_group], [len(group_SP) - 1 for group_SP in seed_groups])
    return Spread(between, df, max(0.0, alone - rest), alone, n_problems)


def sum_of_variances(variances: Sequence[float], dfs: Sequence[int]) -> tuple[float, float]:
    """Add estimated variances; the degrees of freedom of the sum are Welch's (1947).

    (sum v)^2 / sum(v^2 / df)

    Args:
        variances: estimates.
        dfs: degrees of freedom of each.

    Returns:
        The sum, and its degrees of freedom.
    """
    total = float(sum(variances))
    squares = sum(v * v / df for v, df in zip(variances, dfs, strict=True))
    return total, total * total / squares if squares > 0 else float(sum(dfs))


def _seed_variance(scores_SP: np.ndarray) -> tuple[float, float]:
    """Variance of the mean due to seeds, and the part of it due to the interaction of seed and problem."""
    n_seeds, n_problems = scores_SP.shape
    seed_means_S = scores_SP.mean(axis=1)
    between = float(np.var(seed_means_S, ddof=1)) / n_seeds
    if n_problems < 2:
        return between, between
    rest_SP = scores_SP - seed_means_S[:, None] - scores_SP.mean(axis=0) + scores_SP.mean()
    interaction = float((rest_SP**2).sum()) / ((n_seeds - 1) * (n_problems - 1))
    return between, interaction / (n_seeds * n_problems)


def margin(components: Spread, p: float = 1 - LEVEL) -> float:
    """Half-width of the confidence interval of the mean, at level 1 - p.

    The standard error times the mean of two t quantiles, for seeds and for problems, weighted by the components of
    the variance (Cochran and Cox 1950). It is exact if there is only one component, and conservative in between. It is
    never less than for problems alone.

    If nothing varies, the t quantile is useless. Then at most a share 1 - (p / 2)^(1 / P) of all problems differs from
    the P that were seen (Clopper and Pearson 1934, none of P): 5.6 % for 64 problems.

    Args:
        components: variance components.
        p: probability that the true mean is further away, in (0, 1].

    Returns:
        A distance, in the units of the scores.
    """
    n_problems = components.n_problems
    if _nothing_varies(components):
        return 1.0 - (p / 2) ** (1.0 / n_problems)
    alone = critical_t(p, n_problems - 1) * sqrt(components.problems_alone)
    return max(alone, sqrt(_total(components)) * _critical(components, p))


def p_value(components: Spread, value: float) -> float:
    """The p at which `margin` just reaches from ``value`` to 0.

    Args:
        components: variance components.
        value: the mean.

    Returns:
        A number in [0, 1].
    """
    distance = abs(value)
    if distance < ROUNDING:
        return 1.0
    if _nothing_varies(components):
        return min(1.0, 2.0 * max(0.0, 1.0 - distance) ** components.n_problems)
    alone = _tail(distance, components.problems_alone, components.n_problems - 1)
    total = _total(components)
    return max(alone, _combined_tail(components, distance / sqrt(total)) if total > 0 else 0.0)


def share_interval(scores_SP: np.ndarray, seeds_vary: bool) -> Interval:
    """The interval of a share of correct answers.

    The limits are the shares q with (share - q)^2 = c^2 q (1 - q) / n, where n = share (1 - share) / variance is the
    number of independent answers with the same variance, and c is from `margin`: Wilson's interval (1927), with the
    effective sample size of clustered data (Dean and Pagano 2015). If all or none are correct it is Clopper and
    Pearson's, for the number of problems.

    Args:
        scores_SP: share of correct answers to each problem, for each seed, in [0, 1], [S, P].
        seeds_vary: whether the rows are seeds of a run; one row says nothing about other seeds, so the
            interval is then over problems alone.

    Returns:
        The mean and its limits, in [0, 1].
    """
    value = float(scores_SP.mean())
    groups = [scores_SP] if seeds_vary and len(scores_SP) > 1 else []
    components = spread(scores_SP.mean(axis=0), groups)
    reach = margin(components)
    if _nothing_varies(components) or not 0.0 < value < 1.0:
        return Interval(value, max(0.0, value - reach), min(1.0, value + reach))
    # c^2 / n, with reach = c sqrt(variance).
    ratio = reach**2 / (value * (1 - value))
    centre = (value + ratio / 2) / (1 + ratio)
    half = sqrt(ratio * value * (1 - value) + ratio**2 / 4) / (1 + ratio)
    return Interval(value, max(0.0, centre - half), min(1.0, centre + half))


def _nothing_varies(components: Spread) -> bool:
    return components.n_problems == 1 or _total(components) + components.problems_alone < 1e-24


def _total(components: Spread) -> float:
    return components.seeds + components.problems


def _tail(distance: float, variance: float, df: float) -> float:
    return two_sided_tail(distance / sqrt(variance), df) if variance > 0 else 0.0


def _critical(components: Spread, p: float) -> float:
    """Cochran and Cox's weighted quantile."""
    total = _total(components)
    if total == 0.0:
        return 0.0
    weighted = components.problems * critical_t(p, components.n_problems - 1)
    if components.seeds > 0:
        weighted += components.seeds * critical_t(p, components.seed_df)
    return weighted / total


def _combined_tail(components: Spread, t: float) -> float:
    """The p whose quantile is ``t``; it lies between the p-values of the two components."""
    from scipy.optimize import brentq

    tails = [two_sided_tail(t, components.n_problems - 1)]
    if components.seeds > 0:
        tails.append(two_sided_tail(t, components.seed_df))

    def above(log_p: float) -> float:
        return _critical(components, exp(log_p)) - t

    low, high = (log(max(tail, SMALLEST_P)) for tail in (min(tails), max(tails)))
    if above(low) <= 0.0:
        return exp(low)
    return exp(brentq(above, low, high + ROUNDING))
