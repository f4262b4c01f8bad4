"""V* estimators against a table computed by hand and the limits of the method."""

import math

import mpmath
import numpy as np
import pytest
import torch

from astarpo.objectives.loss_terms import group_soft_value
from astarpo.stage_one import values

EIGHTHS = np.arange(9)
N = np.full(9, 8)


@pytest.mark.parametrize(
    ("beta1", "row"),
    [
        (0.1, [0, 0.792, 0.861, 0.902, 0.931, 0.953, 0.971, 0.987, 1]),
        (0.25, [0, 0.510, 0.667, 0.762, 0.831, 0.885, 0.930, 0.967, 1]),
        (0.5, [0, 0.294, 0.477, 0.611, 0.717, 0.804, 0.878, 0.943, 1]),
        (1.0, [0, 0.195, 0.357, 0.497, 0.620, 0.729, 0.828, 0.918, 1]),
        (2.0, [0, 0.156, 0.301, 0.435, 0.562, 0.681, 0.793, 0.899, 1]),
    ],
)
def test_log_mean_exp_gives_the_known_table(beta1, row):
    assert values.log_mean_exp(EIGHTHS, N, beta1) == pytest.approx(row, abs=6e-4)


def test_log_mean_exp_is_the_formula_over_single_rewards():
    rewards = np.array([1, 0, 0, 1, 1, 0, 0, 0])
    direct = 0.5 * math.log(np.mean(np.exp(rewards / 0.5)))
    assert values.log_mean_exp(np.array([3]), np.array([8]), 0.5)[0] == pytest.approx(direct, abs=1e-15)


@pytest.mark.parametrize("beta1", [1e-6, 1e-3, 0.5, 1e3, 1e9])
def test_log_mean_exp_is_finite_and_between_mean_and_one(beta1):
    found = values.log_mean_exp(EIGHTHS, N, beta1)
    assert np.isfinite(found).all()
    assert (found >= EIGHTHS / 8 - 1e-6).all() and (found <= 1 + 1e-12).all()


def closed_form(p: mpmath.mpf, beta1: float) -> mpmath.mpf:
    """beta1 ln(1 - p + p e^{1/beta1}), divided by e^{1/beta1} inside, with so many digits that nothing is lost."""
    mpmath.mp.dps = 60 + 2 * max(0, int(math.log10(beta1)))
    return 1 + beta1 * mpmath.log(p + (1 - p) * mpmath.exp(-1 / mpmath.mpf(beta1))) if p else mpmath.mpf(0)


BETAS = [float(f"1e{power}") for power in (*range(-9, 18), 30, 100, 299, 300)] + [0.7, 0.999, 1.001, 3.0]


@pytest.mark.parametrize("beta1", BETAS)
def test_every_estimate_is_the_closed_form_whatever_beta1(beta1):
    """From nearly the maximum to nearly the mean, also for the fractional counts of estimates that are updated."""
    for n in (1, 2, 8, 1000):
        c = np.array([0, 1, 1.5, n / 3, n / 2, n - 0.25, n - 1, n]).clip(0, n)
        counts = c, np.full(len(c), n)
        with mpmath.workdps(60):
            rates = [mpmath.mpf(float(one / n)) for one in c]
            jeffreys = [mpmath.mpf(float(p)) for p in values.jeffreys_pass_rate(*counts)]
            expected = [float(closed_form(p, beta1)) for p in rates]
            assert values.log_mean_exp(*counts, beta1) == pytest.approx(expected, rel=2e-15, abs=1e-300)
            expected = [float(closed_form(p, beta1)) for p in jeffreys]
            assert values.jeffreys(*counts, beta1) == pytest.approx(expected, rel=2e-15)
            slopes = [beta1 * -mpmath.expm1(-1 / mpmath.mpf(beta1)) for _ in jeffreys]
            shrunk = mpmath.exp(-1 / mpmath.mpf(beta1))
            errors = [
                s / ((1 - p) * shrunk + p) * mpmath.sqrt(p * (1 - p) / n) for s, p in zip(slopes, jeffreys, strict=True)
            ]
            assert values.value_standard_error(*counts, beta1) == pytest.approx(list(map(float, errors)), rel=2e-15)
        rewards = torch.tensor([1.0] * (n // 2) + [0.0] * (n - n // 2), dtype=torch.float64)
        of_group = group_soft_value(rewards, torch.zeros(n, dtype=torch.long), beta1)
        assert of_group.tolist() == pytest.approx([float(closed_form(mpmath.mpf(n // 2) / n, beta1))] * n, rel=2e-15)


def test_limits_of_beta1():
    assert values.log_mean_exp(np.array([1]), np.array([8]), 1e-4)[0] == pytest.approx(1, abs=1e-3)
    assert values.log_mean_exp(np.array([1]), np.array([8]), 1e4)[0] == pytest.approx(1 / 8, abs=1e-4)


def test_log_mean_exp_falls_with_beta1():
    found = [values.log_mean_exp(np.array([3]), np.array([8]), beta1)[0] for beta1 in (0.1, 0.3, 1, 3, 10)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("beta1", [0.0, -1.0, math.inf, math.nan])
def test_beta1_must_be_above_zero(beta1):
    with pytest.raises(ValueError, match="beta1 must be above 0 and finite"):
        values.log_mean_exp(EIGHTHS, N, beta1)


@pytest.mark.parametrize("name", sorted(values.ESTIMATORS))
def test_a_prompt_without_grades_has_no_value(name):
    found = values.ESTIMATORS[name](np.array([0, 4]), np.array([0, 8]), 0.5)
    error = values.standard_error(name, np.array([0, 4]), np.array([0, 8]), 0.5)
    assert np.isnan(found[0]) and np.isfinite(found[1])
    assert np.isnan(error[0]) and np.isfinite(error[1])


def test_mean_zero_and_jeffreys_by_hand():
    counts = np.array([0, 2, 8]), np.array([8, 8, 8])
    assert values.mean(*counts, 0.5) == pytest.approx([0, 0.25, 1])
    assert values.constant_zero(*counts, 0.5).tolist() == [0, 0, 0]
    p = np.array([0.5, 2.5, 8.5]) / 9
    assert values.jeffreys(*counts, 0.5) == pytest.approx(0.5 * np.log(1 - p + p * math.e**2))


def test_standard_error_by_hand_and_never_zero():
    p = 2.5 / 9
    by_hand = 0.5 * (math.e**2 - 1) / (1 - p + p * math.e**2) * math.sqrt(p * (1 - p) / 8)
    assert values.value_standard_error(np.array([2]), np.array([8]), 0.5)[0] == pytest.approx(by_hand)
    assert (values.value_standard_error(EIGHTHS, N, 0.5) > 0.01).all()
    assert np.isfinite(values.value_standard_error(EIGHTHS, N, 1e-3)).all()


@pytest.mark.parametrize(
    ("p", "n", "bias", "spread"),
    [
        (0.125, 8, -0.042, 0.21),
        (0.5, 1, -0.217, 0.50),
        (0.5, 8, -0.020, 0.15),
        (0.75, 4, -0.018, 0.14),
    ],
)
def test_bias_and_spread_over_binomial_samples(p, n, bias, spread):
    counts = np.arange(n + 1)
    weights = np.array([math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in counts])
    estimates = values.log_mean_exp(counts, np.full(n + 1, n), 0.5)
    exact = 0.5 * math.log(1 - p + p * math.e**2)
    mean = (weights * estimates).sum()
    assert mean - exact == pytest.approx(bias, abs=6e-4)
    assert math.sqrt((weights * (estimates - mean) ** 2).sum()) == pytest.approx(spread, abs=6e-3)
