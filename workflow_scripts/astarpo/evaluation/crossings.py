"""When a run reaches what another one ends with, from curves smoothed so that noise does not favour either.

The first point of a noisy curve above a level is early by chance: the noisier the curve and the more points it has, the
earlier. So each seed's curve is replaced by its isotonic regression, the nondecreasing sequence of least squared
distance (Barlow et al. 1972), which has no window to choose and crosses a level only once. docs/statistics.md has the
reasons, what remains of the bias, and how often the intervals err.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from astarpo.evaluation.intervals import LEVEL, ROUNDING, critical_t, sum_of_variances


@dataclass(frozen=True)
class SmoothedCurve:
    """A nondecreasing curve of rewards over an amount of time, tokens or updates; linear between its points.

    Attributes:
        amounts_K: what was spent up to each point, nondecreasing.
        values_K: the smoothed rewards.
    """

    amounts_K: np.ndarray
    values_K: np.ndarray

    @property
    def end(self) -> float:
        """The last smoothed reward."""
        return float(self.values_K[-1])

    def at(self, amounts_M: np.ndarray) -> np.ndarray:
        """The rewards at the given amounts, [M]; after the end of the training the last one."""
        return np.interp(amounts_M, self.amounts_K, self.values_K)


def smoothed(amounts: Sequence[float], rewards: Sequence[float]) -> SmoothedCurve:
    """Smooth one seed's curve by isotonic regression.

    Args:
        amounts: what was spent up to each point, nondecreasing, not empty.
        rewards: measured there.

    Raises:
        ValueError: the two differ in length, or there is no point.
    """
    if len(amounts) != len(rewards) or not len(rewards):
        raise ValueError(f"a curve of {len(amounts)} amounts and {len(rewards)} rewards")
    from scipy.optimize import isotonic_regression

    return SmoothedCurve(np.asarray(amounts, float), isotonic_regression(np.asarray(rewards, float)).x)


def crossing(amounts_M: np.ndarray, values_M: np.ndarray, level: float) -> float | None:
    """Find where a curve first reaches a level, by linear interpolation.

    Args:
        amounts_M: nondecreasing.
        values_M: of the curve.
        level: to be reached.

    Returns:
        The amount; None if the curve never reaches the level.
    """
    reached_M = values_M >= level - ROUNDING
    if not reached_M.any():
        return None
    place = int(reached_M.argmax())
    if place == 0:
        return float(amounts_M[0])
    low, high = values_M[place - 1], values_M[place]
    start, stop = amounts_M[place - 1], amounts_M[place]
    return float(start + (stop - start) * min(1.0, (level - low) / (high - low)))


@dataclass(frozen=True)
class Race:
    """What run a spends to reach the smoothed end of run b, beside what b itself spends to get there.

    Attributes:
        level: b's smoothed end, mean over its seeds.
        amount: what a spends, until its mean curve reaches the level; None if it does not.
        low, high: the 95 % interval of ``amount``; ``low`` is a's whole training if even the lower limit is beyond it,
            ``high`` is None if the upper limit is. Both are None if a run has one seed or nothing varies.
        target_amount: what b spends, until its own mean curve is at its last value; 0 if it never rises.
        n_seeds: of a.
        n_reached: those whose own curve reaches the level (of the same seed of b, if paired).
        n_flat: seeds of b that never rise above their start.
        paired: whether equal seeds were compared.
    """

    level: float
    amount: float | None
    low: float | None
    high: float | None
    target_amount: float
    n_seeds: int
    n_reached: int
    n_flat: int
    paired: bool


def race(a: Mapping[int, SmoothedCurve], b: Mapping[int, SmoothedCurve], shared_data: bool = True) -> Race:
    """Time run a to the smoothed end of run b.

    D(x) is what a's curve has at x less b's end. The estimate is where the mean of D over seeds reaches 0, and the
    interval has every x at which the t interval of that mean contains 0 (Fieller's method): seed by seed, or Welch's if
    seeds are not paired. So seeds that never reach the level count like all others; the interval is open if they are
    too many.

    Args:
        a, b: seed -> curve, in the same unit; neither is empty.
        shared_data: whether equal seeds saw the same prompts in the same order. Seeds are paired if they did and both
            runs have the same ones.

    Returns:
        The result of this direction; the other one is ``race(b, a)``.
    """
    paired = shared_data and a.keys() == b.keys()
    ends = {seed: curve.end for seed, curve in b.items()}
    level = float(np.mean(list(ends.values())))
    amounts_M = _all_amounts(a)
    values_SM = np.stack([curve.at(amounts_M) for curve in a.values()])
    level_S1 = np.array([[ends[seed] if paired else level] for seed in a])
    above_SM = values_SM - level_S1
    limits = _limits(above_SM, None if paired else np.array(list(ends.values())))
    low, high = (None, None) if limits is None else _interval(amounts_M, *limits)
    b_amounts_M = _all_amounts(b)
    b_values_M = np.mean([curve.at(b_amounts_M) for curve in b.values()], axis=0)
    return Race(
        level=level,
        amount=crossing(amounts_M, above_SM.mean(axis=0), 0.0),
        low=low,
        high=high,
        target_amount=crossing(b_amounts_M, b_values_M, level) or 0.0,
        n_seeds=len(a),
        n_reached=int((above_SM[:, -1] >= -ROUNDING).sum()),
        n_flat=sum(curve.end <= curve.values_K[0] + ROUNDING for curve in b.values()),
        paired=paired,
    )


def _all_amounts(curves: Mapping[int, SmoothedCurve]) -> np.ndarray:
    """Every amount at which one of the curves may bend."""
    return np.unique(np.concatenate([curve.amounts_K for curve in curves.values()]))


def _limits(above_SM: np.ndarray, ends_S: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The t interval of the mean at each amount; ``ends_S``, if seeds are not paired, varies independently."""
    groups = [above_SM] if ends_S is None else [above_SM, np.repeat(ends_S[:, None], above_SM.shape[1], axis=1)]
    if min(map(len, groups)) < 2 or all(np.ptp(group, axis=0).max() < ROUNDING for group in groups):
        return None
    variances_MG = np.stack([np.var(group, axis=0, ddof=1) / len(group) for group in groups], axis=1)
    dfs = [len(group) - 1 for group in groups]
    half_M = np.zeros(len(variances_MG))
    for place, variances_G in enumerate(variances_MG.tolist()):
        variance, df = sum_of_variances(variances_G, dfs)
        half_M[place] = critical_t(1 - LEVEL, df) * sqrt(variance)
    mean_M = above_SM.mean(axis=0)
    return mean_M - half_M, mean_M + half_M


def _interval(amounts_M: np.ndarray, lower_M: np.ndarray, upper_M: np.ndarray) -> tuple[float, float | None]:
    """From where the upper limit first reaches 0 to where the lower one stays above it."""
    low = crossing(amounts_M, upper_M, 0.0)
    stays_M = np.minimum.accumulate(lower_M[::-1])[::-1]
    return float(amounts_M[-1]) if low is None else low, crossing(amounts_M, stays_M, 0.0)
