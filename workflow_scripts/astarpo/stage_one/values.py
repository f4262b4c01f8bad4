"""Estimators of the optimal value V*(x) from the reference policy's rewards (stage 1 of A*-PO)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Estimator = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def log_mean_exp(n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Estimate V* as the paper does, for rewards in {0, 1}.

    V(x) = beta1 ln( (1/N) sum_i exp(r_i / beta1) )    (paper, stage 1)

    Exact to the last digits from beta1 = 1e-9 to 1e300.

    Args:
        n_correct: c, correct responses to each prompt, [P].
        n: N, graded responses to each prompt, [P].
        beta1: temperature of stage 1, > 0.

    Returns:
        float64 [P] in [0, 1]; NaN where N = 0.
    """
    return _soft_value(_pass_rate(n_correct, n), beta1)


def mean(n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Estimate the value by the pass rate c/N, the limit of `log_mean_exp` for beta1 -> infinity.

    Args:
        n_correct, n: counts for each prompt, [P].
        beta1: not used.

    Returns:
        float64 [P]; NaN where N = 0.
    """
    return _pass_rate(n_correct, n)


def constant_zero(n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Set the value of every prompt to 0, as a control; NaN where N = 0, like the other estimators."""
    return _pass_rate(n_correct, n) * 0.0


def jeffreys(n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Insert the Jeffreys estimate of the pass rate, p = (c + 1/2) / (N + 1), into the closed form of V*.

    V(x) = beta1 ln(1 - p + p exp(1/beta1))

    Args:
        n_correct, n: counts for each prompt, [P].
        beta1: temperature of stage 1, > 0.

    Returns:
        float64 [P] in (0, 1); NaN where N = 0.
    """
    return np.where(n > 0, _soft_value(jeffreys_pass_rate(n_correct, n), beta1), np.nan)


def jeffreys_pass_rate(n_correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Posterior mean of the pass rate under Jeffreys' prior, (c + 1/2) / (N + 1), [P]."""
    return (np.asarray(n_correct, float) + 0.5) / (np.asarray(n, float) + 1.0)


def value_standard_error(n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Standard error of `log_mean_exp` by the delta method.

    beta1 (e^{1/beta1} - 1) / (1 - p + p e^{1/beta1}) sqrt(p (1 - p) / N), with the Jeffreys p, so that it is
    not 0 if none or all of the responses are correct.

    Args:
        n_correct, n: counts for each prompt, [P].
        beta1: temperature of stage 1, > 0.

    Returns:
        float64 [P]; NaN where N = 0.
    """
    p = jeffreys_pass_rate(n_correct, n)
    shrunk = np.exp(-1.0 / beta1)  # numerator and denominator divided by e^{1/beta1}: no overflow
    slope = beta1 * -np.expm1(-1.0 / beta1) / ((1.0 - p) * shrunk + p)
    return slope * _binomial_error(p, n)


def standard_error(estimator: str, n_correct: np.ndarray, n: np.ndarray, beta1: float) -> np.ndarray:
    """Standard error of the named estimator for each prompt, [P]; NaN where N = 0.

    Args:
        estimator: a key of `ESTIMATORS`.
        n_correct, n: counts for each prompt, [P].
        beta1: temperature of stage 1, > 0; `mean` and `zero` do not depend on it.
    """
    if estimator == "zero":
        return np.where(np.asarray(n) > 0, 0.0, np.nan)
    if estimator == "mean":
        return _binomial_error(jeffreys_pass_rate(n_correct, n), n)
    return value_standard_error(n_correct, n, beta1)


def _binomial_error(p: np.ndarray, n: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(n) > 0, np.sqrt(p * (1.0 - p) / np.asarray(n, float)), np.nan)


def _pass_rate(n_correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(n_correct, float) / np.asarray(n, float)


def _soft_value(p: np.ndarray, beta1: float) -> np.ndarray:
    """beta1 ln(1 - p + p e^{1/beta1}); p = 0 gives 0 and p = 1 gives 1 exactly.

    For small beta1 by log-sum-exp, as e^{1/beta1} overflows; for large beta1 as beta1 ln(1 + p (e^{1/beta1} - 1)), as
    the logarithm of a sum near 1 loses its digits.
    """
    if not 0 < beta1 < np.inf:
        raise ValueError(f"beta1 must be above 0 and finite, but is {beta1}")
    with np.errstate(divide="ignore", invalid="ignore"):
        if beta1 < 1:
            return beta1 * np.logaddexp(np.log1p(-p), np.log(p) + 1.0 / beta1)
        return np.where(p == 1.0, 1.0, beta1 * np.log1p(p * np.expm1(1.0 / beta1)))


ESTIMATORS: dict[str, Estimator] = {
    "log_mean_exp": log_mean_exp,
    "mean": mean,
    "zero": constant_zero,
    "jeffreys": jeffreys,
}
