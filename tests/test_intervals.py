"""Intervals computed by hand and in independent ways, and invariances."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np
import pytest

from astarpo.evaluation.intervals import (
    critical_t,
    margin,
    p_value,
    share_interval,
    spread,
    two_sided_tail,
)

T_2, T_9, T_63 = 4.302653, 2.262157, 1.998341  # 97.5 % points


def scores(seeds=3, problems=40, seed_sd=0.05, state=0):
    """Shares of eight right, seeds that differ, problems that differ."""
    generator = np.random.default_rng(state)
    chance_SP = generator.uniform(0.2, 0.8, problems) + generator.normal(0, seed_sd, (seeds, 1))
    return generator.binomial(8, chance_SP.clip(0, 1)) / 8


@pytest.mark.parametrize(
    ("p", "df", "printed"),
    # Any printed table of Student's t.
    [(0.05, 1, 12.706), (0.05, 2, 4.303), (0.05, 9, 2.262), (0.01, 10, 3.169), (0.001, 2, 31.599)],
)
def test_quantiles_are_those_of_the_tables(p, df, printed):
    assert critical_t(p, df) == pytest.approx(printed, abs=6e-4)
    assert two_sided_tail(critical_t(p, df), df) == pytest.approx(p)


# Parts of the variance


def test_parts_by_hand():
    # Seed means 1/2 and 1/4 (variance 1/32), problem means 3/4 and 0 (variance 9/32); what is left of the table is
    # +-1/8, with one degree of freedom: 4/64.
    scores_SP = np.array([[1.0, 0.0], [0.5, 0.0]])
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    assert found.seeds == pytest.approx(1 / 32 / 2) and found.seed_df == 1
    assert found.problems_alone == pytest.approx(9 / 32 / 2)
    assert found.problems == pytest.approx(9 / 32 / 2 - 4 / 64 / 4)


def test_parts_estimate_the_variance_of_the_mean_without_bias():
    """In sum they are right on average: known variances, many tables of 3 seeds and 20 problems."""
    generator = np.random.default_rng(3)
    seed_sd, problem_sd, rest_sd, many = 0.3, 1.0, 0.7, 4000
    tables = (
        generator.normal(0, seed_sd, (many, 3, 1))
        + generator.normal(0, problem_sd, (many, 1, 20))
        + generator.normal(0, rest_sd, (many, 3, 20))
    )
    found = [spread(table.mean(axis=0), [table]) for table in tables]
    estimated = np.mean([one.seeds + one.problems for one in found])
    true = seed_sd**2 / 3 + problem_sd**2 / 20 + rest_sd**2 / 60
    assert estimated == pytest.approx(true, rel=0.03)
    assert np.var(tables.mean(axis=(1, 2))) == pytest.approx(true, rel=0.1)


def test_two_runs_of_own_seeds_add_up_with_the_degrees_of_freedom_of_welch():
    # Variances of the means 1/4 / 2 and 1 / 3 by 1 and 2 degrees of freedom.
    a_SP, b_TP = np.array([[0.0] * 2, [0.5**0.5] * 2]), np.array([[-1.0] * 2, [0.0] * 2, [1.0] * 2])
    found = spread(np.zeros(2), [a_SP, b_TP])
    assert found.seeds == pytest.approx(1 / 8 + 1 / 3)
    assert found.seed_df == pytest.approx((1 / 8 + 1 / 3) ** 2 / ((1 / 8) ** 2 + (1 / 3) ** 2 / 2))


# Margins and p-values


def test_without_spread_of_problems_it_is_the_t_interval_of_the_seeds():
    values = [0.50, 0.56, 0.53]
    scores_SP = np.repeat(np.array(values)[:, None], 64, axis=1)
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    # Standard deviation 0.03, by hand.
    assert margin(found) == pytest.approx(T_2 * 0.03 / sqrt(3), rel=1e-6)
    # t = 0.53 sqrt(3) / 0.03, and the tail of two degrees of freedom in closed form.
    t = 0.53 * sqrt(3) / 0.03
    assert p_value(found, 0.53) == pytest.approx(1 - t / sqrt(2 + t * t), rel=1e-6)


def test_without_seeds_it_is_the_t_interval_of_the_problems():
    values_P = np.repeat([0.0, 0.25, 0.5, 1.0], 16)
    found = spread(values_P)
    assert margin(found) == pytest.approx(T_63 * np.std(values_P, ddof=1) / 8, rel=1e-6)


def test_both_parts_by_hand():
    # Ten problems of two kinds, three seeds, nothing left over: parts 0.03^2 / 3 and var / 10.
    problems_P = np.tile([-0.1, 0.1], 5)
    scores_SP = 0.5 + np.array([[-0.03], [0.0], [0.03]]) + problems_P
    seeds, problems = 0.03**2 / 3, 10 * 0.01 / 9 / 10
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    assert (found.seeds, found.problems) == pytest.approx((seeds, problems))
    weighted = (seeds * T_2 + problems * T_9) / (seeds + problems)
    assert margin(found) == pytest.approx(weighted * sqrt(seeds + problems), rel=1e-6)


def test_problems_that_differ_less_than_chance_would_have_it_count_for_nothing():
    # Three seeds right on different thirds of the problems: the problems' means are all equal.
    scores_SP = np.tile(np.eye(3), 20) + np.array([[-0.01], [0.0], [0.01]])
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    assert found.problems == 0
    assert margin(found) == pytest.approx(T_2 * 0.01 / sqrt(3), rel=1e-6)
    t = 0.03 * sqrt(3) / 0.01
    assert p_value(found, 0.03) == pytest.approx(1 - t / sqrt(2 + t * t), rel=1e-6)


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("value", [0.001, 0.03, 0.1, 0.4, 0.9])
def test_the_p_value_is_where_the_interval_reaches_zero(seed_sd, value):
    scores_SP = scores(seed_sd=seed_sd, state=4)
    for groups in ([scores_SP], []):
        found = spread(scores_SP.mean(axis=0), groups)
        assert margin(found, p_value(found, value)) == pytest.approx(value, rel=1e-6)


def test_where_nothing_varies_the_p_value_is_that_of_clopper_and_pearson():
    # None of 64 problems was seen to be otherwise: at a share of 2 % that has a chance of 0.98^64, on either side.
    found = spread(np.full(64, 0.02))
    assert p_value(found, 0.02) == pytest.approx(2 * 0.98**64)
    assert margin(found, 2 * 0.98**64) == pytest.approx(0.02)


def test_p_values_of_clear_differences_are_tiny_but_no_error():
    problems_P = np.tile([-0.1, 0.1], 256)
    for move in (0.0, 1e-12, 1e-6, 1e-3):
        scores_SP = 0.5 + np.array([[-move], [0.0], [move]]) + problems_P
        found = spread(scores_SP.mean(axis=0), [scores_SP])
        assert 0 <= p_value(found, 0.9) < 1e-5


def test_rounding_is_no_difference():
    scores_SP = scores()
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    assert p_value(found, 0.0) == p_value(found, -7e-17) == 1.0


def test_an_interval_is_never_narrower_than_the_one_over_problems_alone():
    # Three seeds right on different problems, but on equally many: their means show no spread at all.
    scores_SP = np.array([[1.0, 0, 0, 1] * 8, [0, 1.0, 0, 1] * 8, [0, 0, 1.0, 1] * 8])
    found = spread(scores_SP.mean(axis=0), [scores_SP])
    assert found.seeds == pytest.approx(0, abs=1e-30)
    assert margin(found) == pytest.approx(margin(spread(scores_SP.mean(axis=0))))


# Shares


def clopper_pearson(right: int, of: int) -> tuple[float, float]:
    """By the definition: the shares at which so many, or so few, have a chance of 2.5 %."""

    def at_least(q):
        return sum(comb(of, i) * q**i * (1 - q) ** (of - i) for i in range(right, of + 1))

    def at_most(q):
        return sum(comb(of, i) * q**i * (1 - q) ** (of - i) for i in range(right + 1))

    def solved(chance):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if chance(middle) < 0.025 else (low, middle)
        return low

    return (solved(at_least) if right else 0.0), (1 - solved(lambda q: at_most(1 - q)) if right < of else 1.0)


@pytest.mark.parametrize("rows", [(1, False), (3, True), (1, True)])
@pytest.mark.parametrize("problems", [2, 30, 64])
def test_all_or_none_right_is_the_interval_of_clopper_and_pearson(rows, problems):
    n_seeds, vary = rows
    none = share_interval(np.zeros((n_seeds, problems)), vary)
    assert none == pytest.approx((0.0, *clopper_pearson(0, problems)), abs=1e-9)
    every = share_interval(np.ones((n_seeds, problems)), vary)
    assert every == pytest.approx((1.0, *clopper_pearson(problems, problems)), abs=1e-9)


def test_none_of_sixty_four_is_up_to_five_point_six_percent():
    assert share_interval(np.zeros((1, 64)), False).high == pytest.approx(0.056, abs=5e-5)


def test_one_of_sixty_four_is_no_surer_than_none():
    one = share_interval(np.eye(1, 64), False)
    assert 0 < one.low < 1 / 64 and one.high > share_interval(np.zeros((1, 64)), False).high


@pytest.mark.parametrize(("right", "of"), [(1, 64), (12, 30), (248, 512), (500, 512)])
def test_shares_of_one_answer_each_are_near_the_exact_interval(right, of):
    found = share_interval(np.array([[1.0] * right + [0.0] * (of - right)]), False)
    low, high = clopper_pearson(right, of)
    assert found.low == pytest.approx(low, abs=0.015) and found.high == pytest.approx(high, abs=0.015)


def test_half_right_by_hand():
    # Wilson: (1/2 +- 1/2 sqrt(r / (1 + r))), with r = t^2 / (n - 1), as the variance is 1/4 / (n - 1).
    found = share_interval(np.array([[1.0, 0.0] * 32]), False)
    r = T_63**2 / 63
    assert found.high - 0.5 == pytest.approx(0.5 * sqrt(r / (1 + r)), rel=1e-6)
    assert found.high - 0.5 == pytest.approx(0.5 - found.low)


def test_more_answers_a_problem_narrow_the_interval_only_as_far_as_problems_differ():
    few, many = (share_interval(scores(1, 400, 0, 1)[:, :n], False) for n in (100, 400))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.1)
    alike = share_interval(np.full((1, 400), 0.5) + np.tile([-0.125, 0.125], 200), False)
    assert alike.high - alike.low == pytest.approx(2 * 1.966 * 0.125 / 20, rel=0.01)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_order_of_problems_and_seeds_does_not_matter_and_wrong_mirrors_right(n_seeds):
    scores_SP = scores(n_seeds)
    found = share_interval(scores_SP, True)
    generator = np.random.default_rng(1)
    shuffled = generator.permutation(generator.permutation(scores_SP, axis=0), axis=1)
    assert share_interval(shuffled, True) == pytest.approx(found)
    mirrored = share_interval(1 - scores_SP, True)
    assert (1 - mirrored.value, 1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found)


def test_seeds_that_agree_narrow_the_interval_and_seeds_that_do_not_widen_it():
    one, agree, differ = scores(1), scores(3, seed_sd=0.0), scores(3, seed_sd=0.15)
    wide, usual, narrow = (np.ptp(share_interval(table, True)[1:]) for table in (differ, one, agree))
    assert wide > 1.5 * usual and narrow < 1.2 * usual


@pytest.mark.parametrize("value", [0.25, 0.75])
def test_equal_problems_are_no_proof_that_all_problems_are_equal(value):
    found = share_interval(np.full((1, 30), value), False)
    reach = 1 - 0.025 ** (1 / 30)
    assert found == pytest.approx((value, value - reach, value + reach))


def test_one_problem_says_next_to_nothing():
    assert share_interval(np.array([[0.5]]), False) == (0.5, 0.0, 1.0)
    two_seeds = np.array([[0.25], [0.75]])
    assert share_interval(two_seeds, True) == (0.5, 0.0, 1.0)
    assert margin(spread(two_seeds.mean(axis=0), [two_seeds])) == pytest.approx(0.975)
