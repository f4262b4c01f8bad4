"""The summary table: graded answers of every policy to scores with intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from astarpo.benchmarks import (
    Answers,
    Scores,
    bootstrap_intervals,
    paired_difference,
    pool,
    score,
    summary_rows,
)
from astarpo.columns import GENERATIONS, GRADED_ANSWERS
from astarpo.errors import InputError
from astarpo.files import read_table

Entry = Mapping[str, Any]
Key = tuple[str, str, str]  # policy, benchmark, protocol
KEYS = ("prompt_id", "sample_index")
DRAWN = pa.schema([GENERATIONS.field(name) for name in (*KEYS, "finish_reason", "n_tokens")])


def read_answers(graded: str, generations: str, k: int) -> Answers:
    """Read the graded answers of one policy to one benchmark by one protocol.

    Args:
        graded: parquet file with the grades.
        generations: parquet file with the responses that were graded.
        k: responses a problem.

    Returns:
        The answers, problems in the order of their ids, samples in theirs.

    Raises:
        InputError: a problem has not exactly the samples 0 to k - 1, a reward is none of 1, 0 and
            null, or the two files are not about the same responses.
    """
    grades, drawn = (
        read_table(path, schema).sort_by([(key, "ascending") for key in KEYS])
        for path, schema in ((graded, GRADED_ANSWERS), (generations, DRAWN))
    )
    if any(grades[key].to_pylist() != drawn[key].to_pylist() for key in KEYS):
        raise InputError(
            f"{graded}: grades other responses than are in {generations}; "
            "delete it and run `snakemake` again"
        )
    prompt_ids = _complete_problems(grades, graded, k)
    rewards = grades["reward"].to_numpy(zero_copy_only=False).astype(float)
    if not (np.isnan(rewards) | (rewards == 0) | (rewards == 1)).all():
        raise InputError(f"{graded}: column 'reward' must be 1, 0 or null, but has other values")
    classes = grades["answer_class"].to_pylist()
    tokens = drawn["n_tokens"].to_numpy(zero_copy_only=False).astype(float)
    statuses, texts = grades["status"].to_pylist(), grades["answer"].to_pylist()
    cut = np.array([reason == "length" for reason in drawn["finish_reason"].to_pylist()])
    return Answers(
        prompt_ids=prompt_ids,
        rewards_PK=rewards.reshape(-1, k),
        classes_PK=[classes[start : start + k] for start in range(0, len(classes), k)],
        truncated_PK=cut.reshape(-1, k),
        tokens_PK=tokens.reshape(-1, k),
        no_answer_PK=np.array([one == "no_answer" for one in statuses]).reshape(-1, k),
        has_texts=all(
            text is not None
            for status, text in zip(statuses, texts, strict=True)
            if status in ("correct", "incorrect")
        ),
    )


def _complete_problems(grades: pa.Table, path: str, k: int) -> tuple[str, ...]:
    samples: dict[str, list[int]] = {}
    for prompt_id, index in zip(*(grades[key].to_pylist() for key in KEYS), strict=True):
        samples.setdefault(prompt_id, []).append(index)
    if not samples:
        raise InputError(f"{path}: holds no answers; the benchmark seems to be empty")
    for prompt_id, indices in samples.items():
        if indices != list(range(k)):
            raise InputError(
                f"{path}: problem {prompt_id} has the samples {indices} instead of 0 to {k - 1}; "
                "delete the file and run `snakemake` again"
            )
    return tuple(samples)


def score_policies(policies: Sequence[Entry], evaluations: Iterable[Entry]) -> dict[Key, Scores]:
    """Score every evaluation, and pool the seeds of each run.

    Args:
        policies: ``policy``, ``run``, ``seed``, ... of each policy.
        evaluations: ``policy``, ``benchmark``, ``protocol``, ``k``, ``temperature``, ``generations``
            and ``graded`` of each.

    Returns:
        (policy, benchmark, protocol) -> scores; a run's name stands for the mean over its seeds. Where the verifier
        of a benchmark gives no text with a verdict, on whichever answer, nobody has votes on that benchmark.

    Raises:
        InputError: an answer is missing, or seeds of a run answered different problems.
    """
    run_of = {policy["policy"]: policy["run"] for policy in policies}
    scores: dict[Key, Scores] = {}
    seeds: dict[Key, list[Scores]] = {}
    answered = [
        (entry, read_answers(entry["graded"], entry["generations"], entry["k"]))
        for entry in evaluations
    ]
    without_texts = {entry["benchmark"] for entry, answers in answered if not answers.has_texts}
    for entry, answers in answered:
        asked = (entry["benchmark"], entry["protocol"])
        vote = entry["benchmark"] not in without_texts
        scores[entry["policy"], *asked] = scored = score(answers, entry["temperature"], vote)
        run = run_of[entry["policy"]]
        if run is not None:
            seeds.setdefault((run, *asked), []).append(scored)
    for key, of_seeds in seeds.items():
        try:
            scores[key] = pool(of_seeds)
        except ValueError as error:
            raise InputError(
                f"run {key[0]}, benchmark {key[1]}, protocol {key[2]}: its seeds answered "
                "different problems; run `snakemake -R generate_answers`"
            ) from error
    return scores


def summarize_scores(
    policies: Sequence[Entry], scores: Mapping[Key, Scores], resamples: int, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Make the summary table, and the changes from reference to run that go with it.

    Args:
        policies: as for `score_policies`.
        scores: what that returned.
        resamples, seed: of the bootstrap.

    Returns:
        Rows of `columns.SUMMARY`, each run's pooled rows before those of its seeds; and for every row
        of a run ``policy, benchmark, protocol, metric, value, ci_low, ci_high``: the difference to its
        reference, paired by problem.
    """
    rows, changes = [], []
    for policy in _with_pooled(policies):
        for key in (key for key in scores if key[0] == policy["policy"]):
            asked = {"benchmark": key[1], "protocol": key[2]}
            rows += summary_rows(scores[key], {**policy, **asked}, resamples, seed)
            reference = scores.get((policy["reference"], *key[1:]))
            if policy["run"] is not None and reference is not None:
                labels = {"policy": policy["policy"], **asked}
                changes += _changes(scores[key], reference, labels, resamples, seed)
    return rows, changes


def differences(
    policies: Sequence[Entry], scores: Mapping[Key, Scores], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Compare every two policies on the problems that both answered.

    Args:
        policies, scores, resamples, seed: as for `summarize_scores`.

    Returns:
        Rows of `columns.DIFFERENCES` for references and runs (means over their seeds): greedy, avg@k, pass@k and
        maj@k of each protocol; a minus b. ``tied`` where the interval covers 0.
    """
    compared = [entry["policy"] for entry in _with_pooled(policies) if entry["seed"] is None]
    rows = []
    for benchmark, protocol in dict.fromkeys(key[1:] for key in scores):
        own = [name for name in compared if (name, benchmark, protocol) in scores]
        for a, b in itertools.combinations(own, 2):
            pair = (scores[a, benchmark, protocol], scores[b, benchmark, protocol])
            labels = {"benchmark": benchmark, "protocol": protocol, "policy_a": a, "policy_b": b}
            rows += _compared(*pair, labels, resamples, seed)
    return rows


def _compared(
    a: Scores, b: Scores, labels: Entry, resamples: int, seed: int
) -> list[dict[str, Any]]:
    places_a = {prompt_id: place for place, prompt_id in enumerate(a.prompt_ids)}
    places_b = {prompt_id: place for place, prompt_id in enumerate(b.prompt_ids)}
    common = [prompt_id for prompt_id in a.prompt_ids if prompt_id in places_b]
    largest = max(k for _, k in a.metrics)
    names = [key for key in a.metrics if key in b.metrics and key[1] == largest]
    if not common or not names:
        return []
    differences_PM = np.stack(
        [
            a.metrics[name][[places_a[one] for one in common]]
            - b.metrics[name][[places_b[one] for one in common]]
            for name in names
        ],
        axis=1,
    )
    return [
        {
            **labels, "metric": name, "value": found.value, "ci_low": found.low, "ci_high": found.high,
            "tied": found.low <= 0 <= found.high, "n_problems": len(common),
        }
        for (name, _), found in zip(
            names, bootstrap_intervals(differences_PM, resamples, seed), strict=True
        )
    ]  # fmt: skip


def _with_pooled(policies: Sequence[Entry]) -> list[dict[str, Any]]:
    """Labels of every policy in the summary; before a run's seeds, the run itself."""
    names = ("policy", "run", "method", "reference", "dataset", "seed")
    labelled: dict[str, dict[str, Any]] = {}
    for policy in policies:
        labels = {name: policy[name] for name in names}
        if policy["run"] is not None:
            labelled.setdefault(policy["run"], {**labels, "policy": policy["run"], "seed": None})
        labelled[policy["policy"]] = labels
    return list(labelled.values())


def _changes(
    scores: Scores, reference: Scores, labels: Entry, resamples: int, seed: int
) -> list[dict[str, Any]]:
    if scores.prompt_ids != reference.prompt_ids:
        raise InputError(
            f"{labels['policy']} and its reference answered different problems of "
            f"{labels['benchmark']}; run `snakemake -R generate_answers`"
        )
    changes = []
    for name in (name for name in scores.metrics if name in reference.metrics):
        change = paired_difference(scores.metrics[name], reference.metrics[name], resamples, seed)
        numbers = {"value": change.value, "ci_low": change.low, "ci_high": change.high}
        changes.append({**labels, "metric": name[0], **numbers})
    return changes
