"""Forecast of the gradient noise that a baseline will cause, from the samples of stage 1 alone.

The noise of the policy gradient with baseline b is E[|s|^2 (r - b)^2], s = grad ln pi(y|x); see
`objectives.value_scale`. Stage 1 has r and, for the weight |s|^2, the surprisal -ln pi_ref(y|x) as a proxy. What is
reported is the noise relative to that of no baseline,

    sum w (r - b)^2 / sum w r^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from astarpo.stage_one.values import ESTIMATORS

BETA1_GRID = (0.1, 0.25, 0.5, 1.0, 2.0)
Scope = Literal["all", "solved"]
SCOPES: tuple[Scope, ...] = ("all", "solved")
Z_95 = 1.959963984540054
BASELINES = {
    "zero": "none",
    "batch_mean": "mean of the batch",
    "pass_rate": "pass rate of the prompt",
    "v_star": "V*",
    "jeffreys": "V* of the Jeffreys pass rate",
    "scaled_v_star": "scaled V*",
    "best_constant": "best constant",
}  # as tables and figures name them

NO_FORECAST: dict[Scope, str] = {
    "all": "no forecast, because stage 1 has no prompt with two responses with log-probabilities, or no correct one",
    "solved": "no forecast, because no prompt of stage 1 has two correct responses with log-probabilities",
}


@dataclass(frozen=True)
class Samples:
    """Graded samples of stage 1, one row per response.

    Attributes:
        prompt_M: index of the prompt, from 0.
        reward_M: rewards.
        weight_M: w, surprisals in nats.
    """

    prompt_M: np.ndarray
    reward_M: np.ndarray
    weight_M: np.ndarray

    def others(self) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each response, how many of the other responses to its prompt are correct, and their number.

        A baseline from all responses would know the reward that it is compared with.
        """
        count = int(self.prompt_M.max(initial=-1)) + 1
        correct_P = np.bincount(self.prompt_M, self.reward_M, count)
        n_P = np.bincount(self.prompt_M, minlength=count)
        return correct_P[self.prompt_M] - self.reward_M, n_P[self.prompt_M] - 1

    def rows(self, keep_M: np.ndarray) -> Samples:
        """Select responses by a boolean mask."""
        return Samples(self.prompt_M[keep_M], self.reward_M[keep_M], self.weight_M[keep_M])


@dataclass(frozen=True)
class Forecast:
    """The forecast for one baseline; its fields are the columns of `columns.FORECAST`.

    Attributes:
        prompts: ``all``, or ``solved``: by another of their samples, as after a selection of solved prompts.
        baseline: a key of `BASELINES`.
        beta1: of a V*; None for the others.
        scale: the constant, or the scale of V*, that was fitted; None for the others.
        noise: relative to no baseline.
        ci_low, ci_high: its 95 % interval over prompts.
        n_prompts, n_samples: what it is based on.
    """

    prompts: Scope
    baseline: str
    beta1: float | None
    scale: float | None
    noise: float
    ci_low: float
    ci_high: float
    n_prompts: int
    n_samples: int


def forecasts(samples: Samples, beta1: float) -> list[Forecast]:
    """Forecast the noise of every baseline, in both scopes.

    Args:
        samples: of stage 1.
        beta1: of the estimate; `BETA1_GRID` is added for comparison.

    Returns:
        One row per scope and baseline; a scope is left out if it has no response with a reward.
    """
    return [forecast for scope in SCOPES for forecast in _forecasts_of(*_in_scope(samples, scope), beta1, scope)]


def _in_scope(samples: Samples, scope: Scope) -> tuple[Samples, np.ndarray, np.ndarray]:
    """Select the responses of a scope, with the number of correct ones among the others, and of others.

    A response's own reward does not decide whether its prompt counts as solved: that would favour low baselines.
    """
    correct_M, n_M = samples.others()
    keep_M = correct_M > 0 if scope == "solved" else n_M > 0
    return samples.rows(keep_M), correct_M[keep_M], n_M[keep_M]


def _forecasts_of(
    samples: Samples, correct_M: np.ndarray, n_M: np.ndarray, beta1: float, scope: Scope
) -> list[Forecast]:
    weight_M, reward_M = samples.weight_M, samples.reward_M
    weighted = float((weight_M * reward_M).sum())
    if not weighted > 0:
        return []
    named: dict[tuple[str, float | None, float | None], np.ndarray | float] = {("zero", None, None): 0.0}
    mean, best = float(reward_M.mean()), weighted / float(weight_M.sum())
    named["batch_mean", None, mean] = mean
    named["pass_rate", None, None] = ESTIMATORS["mean"](correct_M, n_M, beta1)
    for one in sorted({*BETA1_GRID, beta1}):
        named["v_star", one, None] = ESTIMATORS["log_mean_exp"](correct_M, n_M, one)
    named["jeffreys", beta1, None] = ESTIMATORS["jeffreys"](correct_M, n_M, beta1)
    v_star_M = named["v_star", beta1, None]
    if (weight_M * v_star_M).sum() > 0:
        scale = weighted / float((weight_M * v_star_M).sum())
        named["scaled_v_star", beta1, scale] = scale * v_star_M
    named["best_constant", None, best] = best
    size = len(np.unique(samples.prompt_M)), len(reward_M)
    return [Forecast(scope, *key, *relative_noise(samples, baseline_M), *size) for key, baseline_M in named.items()]


def relative_noise(samples: Samples, baseline_M: np.ndarray | float) -> tuple[float, float, float]:
    """Compute sum w (r - b)^2 / sum w r^2 with a 95 % interval over prompts.

    The interval is that of a ratio of sums over prompts, R = A / B, by the delta method:
    Var(R) = P/(P - 1) sum_p (A_p - R B_p)^2 / B^2.

    Args:
        samples: M responses.
        baseline_M: b of each response.

    Returns:
        The ratio and the interval's ends, which are 0 and infinity if there is a single prompt.
    """
    _, prompt_M = np.unique(samples.prompt_M, return_inverse=True)
    weight_M, reward_M = samples.weight_M, samples.reward_M
    with_P = np.bincount(prompt_M, weight_M * (reward_M - baseline_M) ** 2)
    without_P = np.bincount(prompt_M, weight_M * reward_M**2)
    ratio, count = with_P.sum() / without_P.sum(), len(with_P)
    spread = np.square(with_P - ratio * without_P).sum() * count / max(count - 1, 1)
    half = Z_95 * float(np.sqrt(spread) / without_P.sum()) if count > 1 else np.inf
    return float(ratio), max(float(ratio) - half, 0.0), float(ratio) + half


def baseline_name(baseline: str, beta1: float | None) -> str:
    """Return the name of a baseline as tables and figures show it."""
    return BASELINES[baseline] if beta1 is None else f"{BASELINES[baseline]}, beta1 = {beta1:g}"
