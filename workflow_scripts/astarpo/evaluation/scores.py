"""Scores of a policy on a benchmark: avg@k, pass@k, maj@k, greedy, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS, share_interval

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 3  # runs named in the note on intervals


@dataclass(frozen=True)
class Answers:
    """Graded answers of one policy to one benchmark by one protocol; rows and columns correspond.

    Attributes:
        prompt_ids: P ids, one per problem.
        rewards_PK: 1, 0 or NaN (not known: counted as wrong), [P, k].
        classes_PK: P lists of k numbers, equal for equivalent answers; None if there is no answer.
        truncated_PK: whether the response was cut off at the token limit, bool [P, k].
        tokens_PK: length of the response in tokens, [P, k].
        no_answer_PK: whether the verifier found no answer in the response, bool [P, k]; None: it always found one.
        has_texts: whether each verdict comes with the text of the answer; a user's verifier may return just True or
            False.
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
    """The score of each problem by each metric.

    Attributes:
        prompt_ids: P ids, one per problem.
        metrics: (name, k) -> float64 [S, P] in [0, 1], for example ``("pass@4", 4)``; one row per seed.
        responses: statistics of the responses: ``truncated_share`` (cut off at the token limit), ``null_share``
            (grade unknown), ``no_answer_share`` (the verifier found no answer) and ``mean_response_tokens``.
        seeds: the run's seed of each row, in ascending order; None for a fixed policy: a reference, or a single seed
            considered by itself.
    """

    prompt_ids: tuple[str, ...]
    metrics: Mapping[tuple[str, int], np.ndarray]
    responses: Mapping[str, float]
    seeds: tuple[int, ...] | None = None


def avg_at_k(rewards_PK: np.ndarray) -> np.ndarray:
    """Share of correct responses to each problem, [P]; NaN rewards count as wrong."""
    shares_P: np.ndarray = (rewards_PK == 1.0).mean(axis=1)
    return shares_P


def pass_at_k(n_correct_P: np.ndarray, n: int, k: int) -> np.ndarray:
    """Unbiased estimate, from ``n`` responses, of the probability that at least one of ``k`` is correct.

    pass@k = 1 - C(n - c, k) / C(n, k)    (Chen et al. 2021, arXiv 2107.03374, equation 1)

    Args:
        n_correct_P: c, correct responses to each problem, integers [P].
        n: responses to each problem.
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
    """Whether the most frequent answer is correct (self-consistency, Wang et al. 2022).

    Equivalent answers vote together. Among equally frequent answers the first to appear wins; responses without an
    answer have no vote unless none has an answer. The winner is correct if at least half of the responses that gave it
    are graded correct: grades of equal answers can differ if a response was cut off or the grader failed.

    Args:
        rewards_PK: 1, 0 or NaN, [P, k].
        classes_PK: P lists of k numbers, equal for equivalent answers; None for no answer.

    Returns:
        float64 [P], each 0 or 1.
    """
    right_PK = np.asarray(rewards_PK == 1.0)
    return np.array([_majority(*row) for row in zip(classes_PK, right_PK, strict=True)])


def _majority(answers: Sequence[int | None], right_K: np.ndarray) -> float:
    votes: Counter[int | None] = Counter(answer for answer in answers if answer is not None)
    votes = votes or Counter(answers)
    # Among equals, max returns the one that was counted first.
    winner = max(votes, key=lambda answer: votes[answer])
    gave_K = np.array([answer == winner for answer in answers])
    return float(2 * right_K[gave_K].sum() >= gave_K.sum())


def score(answers: Answers, temperature: float, vote: bool = True) -> Scores:
    """Score answers problem by problem.

    Args:
        answers: of one policy to one benchmark by one protocol.
        temperature: of the protocol; a single response at temperature 0 is ``greedy``.
        vote: whether to compute maj@k, which needs the texts of the answers.

    Returns:
        ``greedy``, or ``avg@k``, ``pass@k'`` for each k' from 1 to k, and ``maj@k`` if ``vote``.
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
        {key: values_P[None, :] for key, values_P in metrics.items()},
        {
            "truncated_share": float(answers.truncated_PK.mean()),
            "null_share": float(np.isnan(rewards_PK).mean()),
            "no_answer_share": (0.0 if answers.no_answer_PK is None else float(answers.no_answer_PK.mean())),
            "mean_response_tokens": float(answers.tokens_PK.mean()),
        },
    )


def pool(scores: Mapping[int, Scores]) -> Scores:
    """Pool the seeds of a run.

    Args:
        scores: by seed, on the same problems and protocol.

    Returns:
        The scores of all seeds, and the means of ``responses``.

    Raises:
        ValueError: the seeds answered different problems, or were scored by different metrics.
    """
    seeds = tuple(sorted(scores))
    first = scores[seeds[0]]
    for other in scores.values():
        if other.prompt_ids != first.prompt_ids or other.metrics.keys() != first.metrics.keys():
            raise ValueError("scores of seeds on different problems or metrics cannot be pooled")
    return Scores(
        first.prompt_ids,
        {key: np.concatenate([scores[seed].metrics[key] for seed in seeds]) for key in first.metrics},
        {name: float(np.mean([one.responses[name] for one in scores.values()])) for name in first.responses},
        seeds,
    )


class ScoreRow(TypedDict):
    """A metric of a policy on a benchmark: the columns of `columns.SUMMARY` that are not labels."""

    metric: str
    k: int
    value: float
    ci_low: float
    ci_high: float
    n_problems: int
    truncated_share: float
    null_share: float
    no_answer_share: float
    mean_response_tokens: float
    interval_over: str


def score_rows(scores: Scores) -> list[ScoreRow]:
    """Give each metric of a policy on a benchmark its interval.

    Args:
        scores: of one policy or of the pooled seeds of a run.

    Returns:
        A row for each metric. Intervals of a run are over problems and seeds; those of a reference, a single seed, a
        run with only one seed and a benchmark with one problem are over problems.
    """
    # With one problem, the interval reflects how little one problem says, whatever the seeds; see `intervals.margin`.
    seeds_vary = scores.seeds is not None and len(scores.seeds) > 1 and len(scores.prompt_ids) > 1
    rows: list[ScoreRow] = []
    for (name, k), values_SP in scores.metrics.items():
        interval = share_interval(values_SP, seeds_vary)
        rows.append(
            {
                "metric": name,
                "k": k,
                "value": interval.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n_problems": len(scores.prompt_ids),
                "truncated_share": scores.responses["truncated_share"],
                "null_share": scores.responses["null_share"],
                "no_answer_share": scores.responses["no_answer_share"],
                "mean_response_tokens": scores.responses["mean_response_tokens"],
                "interval_over": OVER_BOTH if seeds_vary else OVER_PROBLEMS,
            }
        )
    return rows


def interval_note(summary: pd.DataFrame) -> str:
    """Describe what the intervals of a table or figure are over.

    Args:
        summary: with the columns of `columns.SUMMARY`; the pooled rows of runs decide, except on benchmarks with one
            problem.

    Returns:
        For example ``95 % interval over problems and seeds``.
    """
    runs = pooled_runs(summary[summary["n_problems"] > 1])
    over = dict(zip(runs["run"], runs["interval_over"], strict=True))
    one_seed = [run for run, what in over.items() if what != OVER_BOTH]
    if not over:
        return f"95 % interval over {OVER_PROBLEMS}"
    if len(one_seed) == len(over):
        return f"95 % interval over {OVER_PROBLEMS}: one seed"
    note = f"95 % interval over {OVER_BOTH}"
    names = ", ".join(one_seed) if len(one_seed) <= MOST_NAMED else f"{len(one_seed)} runs"
    return f"{note}; over {OVER_PROBLEMS} for {names}: one seed" if one_seed else note


def pooled_runs(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the summary for runs with their seeds pooled."""
    return summary[summary["run"].notna() & summary["seed"].isna()]


def family(metric: str) -> str:
    """The family of a metric: ``avg`` for ``avg@8``."""
    return metric.split("@")[0]
