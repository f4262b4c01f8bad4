from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from astarpo.common.columns import SUMMARY
from astarpo.evaluation.scores import (
    Answers,
    avg_at_k,
    interval_note,
    maj_at_k,
    pass_at_k,
    pool,
    score,
    score_rows,
)

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
    assert {key: value.tolist() for key, value in scores.metrics.items()} == {("greedy", 1): [[1.0, 0.0, 0.0, 1.0]]}
    assert scores.responses["null_share"] == 0.25


def test_score_of_six_samples():
    scores = score(
        answers([[1, 1, 1, 0, 0, 0], [0] * 6], truncated=[[0] * 6, [1, 1, 1, 0, 0, 0]]),
        temperature=1.0,
    )
    values = {name: value[0].tolist() for (name, _), value in scores.metrics.items()}
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
        "truncated_share": 0.25,
        "null_share": 0.0,
        "no_answer_share": 0.0,
        "mean_response_tokens": 10.0,
    }


def test_one_sampled_response_is_not_greedy():
    assert list(score(answers([[1]]), temperature=1.0).metrics) == [
        ("avg@1", 1),
        ("pass@1", 1),
        ("maj@1", 1),
    ]


def test_pool_puts_the_seeds_in_order_and_averages_what_responses_are_like():
    one = score(answers([[1], [1]], truncated=[[True], [True]]), 0.0)
    two = score(answers([[1], [NULL]]), 0.0)
    pooled = pool({7: two, 3: one})
    assert pooled.seeds == (3, 7) and one.seeds is None
    assert pooled.metrics["greedy", 1].tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert pooled.responses["truncated_share"] == 0.5 and pooled.responses["null_share"] == 0.25


def test_pool_refuses_other_problems():
    with pytest.raises(ValueError, match="cannot be pooled"):
        pool({0: score(answers([[1], [1]]), 0.0), 1: score(answers([[1]]), 0.0)})


def test_the_rows_of_scores_have_the_columns_of_the_summary_after_the_labels():
    rows = score_rows(score(answers([[1, 1], [1, 1]]), 1.0))
    names = ("policy", "run", "method", "reference", "dataset", "seed", "benchmark", "protocol")
    assert all([*names, *row] == SUMMARY.names for row in rows)
    assert [(row["metric"], row["k"]) for row in rows] == [("avg@2", 2), ("pass@1", 1), ("pass@2", 2), ("maj@2", 2)]
    # Of two problems all right: Clopper and Pearson's lower limit, 0.025^(1/2).
    for row in rows:
        assert (row["value"], row["ci_high"], row["n_problems"]) == (1.0, 1.0, 2)
        assert row["ci_low"] == pytest.approx(0.025**0.5)


def test_only_a_run_of_several_seeds_has_an_interval_over_seeds():
    seeds = {seed: score(answers([[seed], [1]] * 50), 0.0) for seed in (0, 1)}
    lengths = {}
    for over, scores in (("one", seeds[0]), ("pooled", pool({0: seeds[0]})), ("both", pool(seeds))):
        (row,) = score_rows(scores)
        lengths[over] = (row["ci_high"] - row["ci_low"], row["interval_over"])
    assert lengths["one"] == lengths["pooled"]
    assert lengths["one"][1] == "problems" and lengths["both"][1] == "problems and seeds"
    assert lengths["both"][0] > 2 * lengths["one"][0]


def test_of_one_problem_no_interval_is_over_seeds():
    (row,) = score_rows(pool({seed: score(answers([[seed]]), 0.0) for seed in (0, 1)}))
    assert row["interval_over"] == "problems"
    # Clopper and Pearson of one problem reach 0.975 away from what was seen.
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("runs", "note"),
    [
        ({}, "95 % interval over problems"),
        ({"a": "problems"}, "95 % interval over problems: one seed"),
        ({"a": "problems and seeds"}, "95 % interval over problems and seeds"),
        (
            {"a": "problems and seeds", "b": "problems"},
            "95 % interval over problems and seeds; over problems for b: one seed",
        ),
        (
            {"a": "problems and seeds"} | dict.fromkeys("bcde", "problems"),
            "95 % interval over problems and seeds; over problems for 4 runs: one seed",
        ),
    ],
)
def test_the_note_says_what_intervals_are_over(runs, note):
    rows = [{"run": None, "seed": None, "interval_over": "problems"}]
    for run, over in runs.items():
        rows.append({"run": run, "seed": None, "interval_over": over})
        rows.append({"run": run, "seed": 0, "interval_over": "problems"})
    summary = pd.DataFrame(rows).assign(n_problems=2)
    assert interval_note(summary) == note
    # A benchmark of one problem, on which no interval is over seeds, changes nothing of what is said of the others.
    one = summary.assign(n_problems=1, interval_over="problems")
    assert interval_note(pd.concat([summary, one])) == note
    assert interval_note(one) == "95 % interval over problems"


def test_a_response_without_an_answer_is_counted():
    none = [[True, False], [False, False]]
    scores = score(answers([[0, 0], [1, 0]], [[None, None], [1, None]], no_answer=none), 1.0)
    assert scores.responses["no_answer_share"] == 0.25


def test_without_votes_there_is_no_majority():
    names = [name for name, _ in score(answers([[1, 0]]), 1.0, vote=False).metrics]
    assert names == ["avg@2", "pass@1", "pass@2"]
