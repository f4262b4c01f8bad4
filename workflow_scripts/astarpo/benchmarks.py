"""Scores of a policy on a benchmark: avg@k, pass@k, maj@k, greedy, with bootstrap intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Answers:
    """Graded answers of one policy to one benchmark by one protocol; rows and columns correspond.

    Attributes:
        prompt_ids: P ids, one a problem.
        rewards_PK: 1, 0 or NaN (not known: counted as wrong), [P, k].
        classes_PK: P lists of k numbers, equal where the answers mean the same; None where there is none.
        truncated_PK: whether the response was cut at the token limit, bool [P, k].
        tokens_PK: length of the response in tokens, [P, k].
        no_answer_PK: whether the verifier found no answer in the response, bool [P, k]; None: in none of them.
        has_texts: whether each verdict comes with the text of the answer; a verifier of one's own may say True or
            False and no more.
    """

    prompt_ids: tuple[str, ...]
    rewards_PK: np.ndarray
    classes_PK: Sequence[Sequence[int | None]]
    truncated_PK: np.ndarray
    tokens_PK: np.ndarray
    no_answer_PK: np.ndarray | None = None
    has_texts: bool = True


@dataclass(frozen=True)
class Scores:
    """What each problem contributes to each metric.

    Attributes:
        prompt_ids: P ids, one a problem.
        metrics: (name, k) -> float64 [P] in [0, 1], for example ``("pass@4", 4)``.
        responses: what the responses are like: ``truncated_share`` (cut at the token limit), ``null_share``
            (grade not known), ``no_answer_share`` (the verifier found none) and ``mean_response_tokens``.
    """

    prompt_ids: tuple[str, ...]
    metrics: Mapping[tuple[str, int], np.ndarray]
    responses: Mapping[str, float]


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def avg_at_k(rewards_PK: np.ndarray) -> np.ndarray:
    """Share of right responses of each problem, [P]; NaN rewards count as wrong."""
    shares_P: np.ndarray = (rewards_PK == 1.0).mean(axis=1)
    return shares_P


def pass_at_k(n_correct_P: np.ndarray, n: int, k: int) -> np.ndarray:
    """Chance that at least one of ``k`` responses is right, estimated without bias from ``n``.

    pass@k = 1 - C(n - c, k) / C(n, k)    (Chen et al. 2021, arXiv 2107.03374, equation 1)

    Args:
        n_correct_P: c, right responses of each problem, integers [P].
        n: responses of each problem.
        k: at most ``n``.

    Returns:
        float64 [P] in [0, 1].

    Raises:
        ValueError: ``k`` is not in 1 .. ``n``.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs 1 to n = {n} responses")
    of_count_C = np.array([1.0 - comb(n - c, k) / comb(n, k) for c in range(n + 1)])
    return np.asarray(of_count_C[n_correct_P])


def maj_at_k(rewards_PK: np.ndarray, classes_PK: Sequence[Sequence[int | None]]) -> np.ndarray:
    """Whether the answer given most often is right (self-consistency, Wang et al. 2022).

    Answers that mean the same vote together. Of answers given equally often the first to appear wins; a
    response without an answer has no vote as long as any other has one. The winner is right if at least half
    of the responses that gave it are graded right: equal answers differ in grade where a response was cut or
    the grader failed.

    Args:
        rewards_PK: 1, 0 or NaN, [P, k].
        classes_PK: P lists of k numbers, equal for equal answers, None for none.

    Returns:
        float64 [P], each 0 or 1.
    """
    right_PK = np.asarray(rewards_PK == 1.0)
    return np.array([_majority(*row) for row in zip(classes_PK, right_PK, strict=True)])


def _majority(answers: Sequence[int | None], right_K: np.ndarray) -> float:
    votes: Counter[int | None] = Counter(answer for answer in answers if answer is not None)
    votes = votes or Counter(answers)
    # Of equals, max gives the one that was counted first.
    winner = max(votes, key=lambda answer: votes[answer])
    gave_K = np.array([answer == winner for answer in answers])
    return float(2 * right_K[gave_K].sum() >= gave_K.sum())


def score(answers: Answers, temperature: float, vote: bool = True) -> Scores:
    """Score answers problem by problem.

    Args:
        answers: of one policy to one benchmark by one protocol.
        temperature: of the protocol; one response at temperature 0 is ``greedy``.
        vote: whether the answers to this benchmark have texts to vote with.

    Returns:
        ``greedy``, or ``avg@k``, ``pass@k'`` for each k' from 1 to k, and with votes ``maj@k``.
    """
    rewards_PK = answers.rewards_PK
    k = rewards_PK.shape[1]
    metrics: dict[tuple[str, int], np.ndarray]
    if k == 1 and temperature == 0:
        metrics = {("greedy", 1): avg_at_k(rewards_PK)}
    else:
        n_correct_P = np.asarray(rewards_PK == 1.0).sum(axis=1)
        metrics = {(f"avg@{k}", k): avg_at_k(rewards_PK)}
        for drawn in range(1, k + 1):
            metrics[f"pass@{drawn}", drawn] = pass_at_k(n_correct_P, k, drawn)
        if vote:
            metrics[f"maj@{k}", k] = maj_at_k(rewards_PK, answers.classes_PK)
    return Scores(
        answers.prompt_ids,
        metrics,
        {
            "truncated_share": float(answers.truncated_PK.mean()),
            "null_share": float(np.isnan(rewards_PK).mean()),
            "no_answer_share": (
                0.0 if answers.no_answer_PK is None else float(answers.no_answer_PK.mean())
            ),
            "mean_response_tokens": float(answers.tokens_PK.mean()),
        },
    )


def pool(scores: Sequence[Scores]) -> Scores:
    """Average over the seeds of a run, problem by problem.

    An interval of the result says how it would vary with other problems, not with other seeds.

    Args:
        scores: of each seed, on the same problems by the same protocol.

    Returns:
        The means; those of ``responses`` too.

    Raises:
        ValueError: the seeds answered other problems, or were scored by other metrics.
    """
    first = scores[0]
    for other in scores[1:]:
        if other.prompt_ids != first.prompt_ids or other.metrics.keys() != first.metrics.keys():
            raise ValueError("scores of seeds on different problems or metrics cannot be pooled")
    return Scores(
        first.prompt_ids,
        {key: np.mean([one.metrics[key] for one in scores], axis=0) for key in first.metrics},
        {name: float(np.mean([one.responses[name] for one in scores])) for name in first.responses},
    )


def bootstrap_intervals(
    values_PM: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Means with 95 % percentile intervals, by resampling problems (Efron 1979).

    All columns share their resamples, and equal arguments give equal intervals.

    Args:
        values_PM: what each problem contributes to each of M numbers, [P, M].
        resamples: how many.
        seed: of the resampling.

    Returns:
        M intervals.
    """
    n_problems = values_PM.shape[0]
    means_RM = _resampling_weights(n_problems, resamples, seed) @ values_PM / n_problems
    low_M, high_M = np.quantile(means_RM, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    means_M = values_PM.mean(axis=0)
    return [Interval(*map(float, numbers)) for numbers in zip(means_M, low_M, high_M, strict=True)]


@lru_cache(maxsize=4)
def _resampling_weights(n_problems: int, resamples: int, seed: int) -> np.ndarray:
    """How often each resample holds each problem, float64 [R, P]."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    even_P = np.full(n_problems, 1.0 / n_problems)
    return generator.multinomial(n_problems, even_P, size=resamples).astype(np.float64)


def paired_difference(
    a_P: np.ndarray, b_P: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of ``a - b`` with its 95 % interval, by resampling problems that both answered.

    Pairing takes out what makes a problem hard for both, so this interval is the one to compare by.

    Args:
        a_P, b_P: scores of two policies on the same problems, [P].
        resamples, seed: as for `bootstrap_intervals`.

    Returns:
        The difference.

    Raises:
        ValueError: the two have not the same number of problems.
    """
    if a_P.shape != b_P.shape:
        raise ValueError(f"scores of {a_P.shape} and {b_P.shape} problems cannot be paired")
    return bootstrap_intervals((a_P - b_P)[:, None], resamples, seed)[0]


def summary_rows(
    scores: Scores, labels: Mapping[str, Any], resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Make the rows of the summary table for a policy on a benchmark.

    Args:
        scores: of the policy, or pooled.
        labels: ``policy``, ``run``, ``method``, ``reference``, ``dataset``, ``seed``, ``benchmark``
            and ``protocol``.
        resamples, seed: as for `bootstrap_intervals`.

    Returns:
        A row a metric, with the columns of `columns.SUMMARY`.
    """
    values_PM = np.stack(list(scores.metrics.values()), axis=1)
    intervals = bootstrap_intervals(values_PM, resamples, seed)
    return [
        {
            **labels,
            "metric": name,
            "k": k,
            "value": interval.value,
            "ci_low": interval.low,
            "ci_high": interval.high,
            "n_problems": len(scores.prompt_ids),
            **scores.responses,
        }
        for (name, k), interval in zip(scores.metrics, intervals, strict=True)
    ]
