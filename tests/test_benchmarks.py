from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from astarpo.benchmarks import (
    Answers,
    avg_at_k,
    bootstrap_intervals,
    maj_at_k,
    paired_difference,
    pass_at_k,
    pool,
    score,
    summary_rows,
)
from astarpo.columns import SUMMARY

NULL = np.nan


def answers(rewards, classes=None, truncated=None, no_answer=None):
    rewards_PK = np.array(rewards, float)
    return Answers(
        prompt_ids=tuple(f"p{row}" for row in range(len(rewards_PK))),
        rewards_PK=rewards_PK,
        classes_PK=classes or [[0] * rewards_PK.shape[1]] * len(rewards_PK),
        truncated_PK=np.zeros(rewards_PK.shape, bool) if truncated is None else np.array(truncated),
        tokens_PK=np.full(rewards_PK.shape, 10.0),
        no_answer_PK=None if no_answer is None else np.array(no_answer),
    )


def test_avg_counts_null_as_wrong():
    assert avg_at_k(np.array([[1, 0, NULL, 1], [0, 0, 0, 0]])).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_response(n):
    for k in range(1, n + 1):
        for n_correct in range(n + 1):
            right = [index < n_correct for index in range(n)]
            subsets = [any(subset) for subset in combinations(right, k)]
            expected = sum(subsets) / len(subsets)
            assert pass_at_k(np.array([n_correct]), n, k)[0] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("k", [0, 9])
def test_pass_at_k_needs_enough_responses(k):
    with pytest.raises(ValueError, match=f"pass@{k} needs 1 to n = 8"):
        pass_at_k(np.array([1]), 8, k)


@pytest.mark.parametrize(
    ("classes", "rewards", "expected"),
    [
        ([5, 7, 7], [1, 0, 0], 0.0),  # a wrong majority
        ([5, 7, 7], [0, 1, 1], 1.0),
        ([7, 5, 5, 7], [1, 0, 0, 1], 1.0),  # of two, the first to appear
        ([5, 7, 7, 5], [0, 1, 1, 0], 0.0),
        ([None, None, 7], [0, 0, 1], 1.0),  # no answer has no vote
        ([None, None, None], [0, 0, 0], 0.0),
        ([7, 7, 7, 5], [1, 1, NULL, 0], 1.0),  # the grader failed on one of three
        ([7, 7, 7], [1, 0, 0], 0.0),  # mostly cut, so mostly wrong
    ],
)
def test_maj(classes, rewards, expected):
    assert maj_at_k(np.array([rewards], float), [classes]).tolist() == [expected]


def test_one_response_at_temperature_zero_is_greedy():
    scores = score(answers([[1], [0], [NULL], [1]]), temperature=0.0)
    assert {key: value.tolist() for key, value in scores.metrics.items()} == {
        ("greedy", 1): [1.0, 0.0, 0.0, 1.0]
    }
    assert scores.responses["null_share"] == 0.25


def test_score_of_six_samples():
    scores = score(
        answers([[1, 1, 1, 0, 0, 0], [0] * 6], truncated=[[0] * 6, [1, 1, 1, 0, 0, 0]]),
        temperature=1.0,
    )
    values = {name: value.tolist() for (name, _), value in scores.metrics.items()}
    # 1 - C(3, 2) / C(6, 2) = 1 - 3 / 15, 1 - C(3, 3) / C(6, 3) = 1 - 1 / 20, and no way to miss with 4 of 6
    assert values == {
        "avg@6": [0.5, 0.0],
        "pass@1": [0.5, 0.0],
        "pass@2": [0.8, 0.0],
        "pass@3": [0.95, 0.0],
        "pass@4": [1.0, 0.0],
        "pass@5": [1.0, 0.0],
        "pass@6": [1.0, 0.0],
        "maj@6": [1.0, 0.0],
    }
    assert [k for _, k in scores.metrics] == [6, 1, 2, 3, 4, 5, 6, 6]
    assert scores.responses == {
        "truncated_share": 0.25, "null_share": 0.0, "no_answer_share": 0.0, "mean_response_tokens": 10.0,
    }  # fmt: skip


def test_one_sampled_response_is_not_greedy():
    assert list(score(answers([[1]]), temperature=1.0).metrics) == [
        ("avg@1", 1),
        ("pass@1", 1),
        ("maj@1", 1),
    ]


def test_pool_is_the_mean_of_each_problem_over_seeds():
    one = score(answers([[1], [1]], truncated=[[True], [True]]), 0.0)
    two = score(answers([[1], [NULL]]), 0.0)
    pooled = pool([one, two])
    assert pooled.metrics["greedy", 1].tolist() == [1.0, 0.5]
    assert pooled.responses["truncated_share"] == 0.5 and pooled.responses["null_share"] == 0.25


def test_pool_refuses_other_problems():
    with pytest.raises(ValueError, match="cannot be pooled"):
        pool([score(answers([[1], [1]]), 0.0), score(answers([[1]]), 0.0)])


def test_interval_of_equal_problems_is_a_point():
    (interval,) = bootstrap_intervals(np.full((5, 1), 0.25))
    assert interval == (0.25, 0.25, 0.25)


def test_interval_of_two_problems_is_everything():
    # A resample has mean 0, 1/2, 1 with chances 1/4, 1/2, 1/4, all of them above 2.5 %.
    assert bootstrap_intervals(np.array([[0.0], [1.0]])) == [(0.5, 0.0, 1.0)]


def test_interval_of_many_problems_is_that_of_the_normal_distribution():
    values_PM = np.repeat([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0]], 250, axis=0)
    for interval, p in zip(bootstrap_intervals(values_PM, 20000), (0.75, 0.25), strict=True):
        half = 1.96 * (p * (1 - p) / 1000) ** 0.5
        assert interval.value == p
        assert interval.low == pytest.approx(p - half, abs=0.002)
        assert interval.high == pytest.approx(p + half, abs=0.002)


def test_interval_agrees_with_resampling_by_index():
    values_P = np.linspace(0, 1, 30) ** 2
    generator = np.random.default_rng(5)
    means = [values_P[generator.integers(0, 30, 30)].mean() for _ in range(20000)]
    interval = bootstrap_intervals(values_P[:, None], 20000)[0]
    assert interval.low == pytest.approx(np.quantile(means, 0.025), abs=0.005)
    assert interval.high == pytest.approx(np.quantile(means, 0.975), abs=0.005)


def test_interval_depends_on_the_seed_alone():
    values_PM = np.linspace(0, 1, 20)[:, None]
    assert bootstrap_intervals(values_PM, 100, 3) == bootstrap_intervals(values_PM.copy(), 100, 3)
    assert bootstrap_intervals(values_PM, 100, 3) != bootstrap_intervals(values_PM, 100, 4)


def test_paired_difference_takes_out_how_hard_problems_are():
    b_P = np.array([0.0, 0.25, 0.5, 0.75])
    assert paired_difference(b_P + 0.25, b_P) == (0.25, 0.25, 0.25)


def test_paired_difference_of_two_problems():
    # Differences 1 and 0: as for two problems above.
    assert paired_difference(np.array([1.0, 0.5]), np.array([0.0, 0.5])) == (0.5, 0.0, 1.0)


def test_paired_difference_refuses_other_numbers_of_problems():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference(np.ones(1), np.ones(3))


def test_summary_rows_have_the_columns_of_the_table():
    names = ("policy", "run", "method", "reference", "dataset", "seed", "benchmark", "protocol")
    rows = summary_rows(score(answers([[1, 1], [1, 1]]), 1.0), dict.fromkeys(names))
    assert all(list(row) == SUMMARY.names for row in rows)
    assert [(row["metric"], row["k"]) for row in rows] == [
        ("avg@2", 2), ("pass@1", 1), ("pass@2", 2), ("maj@2", 2)
    ]  # fmt: skip
    assert {(row["value"], row["ci_low"], row["ci_high"], row["n_problems"]) for row in rows} == {
        (1.0, 1.0, 1.0, 2)
    }


def test_a_response_without_an_answer_is_counted():
    none = [[True, False], [False, False]]
    scores = score(answers([[0, 0], [1, 0]], [[None, None], [1, None]], no_answer=none), 1.0)
    assert scores.responses["no_answer_share"] == 0.25


def test_without_votes_there_is_no_majority():
    names = [name for name, _ in score(answers([[1, 0]]), 1.0, vote=False).metrics]
    assert names == ["avg@2", "pass@1", "pass@2"]
