"""The summary table: scores with intervals, from the graded answers of every policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from astarpo.common.columns import GENERATIONS, GRADED_ANSWERS, SUMMARY
from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.common.frames import frame
from astarpo.evaluation.scores import Answers, Scores, pool, score, score_rows
from astarpo.tables.plan import Evaluation, Policy

Key = tuple[str, str, str]  # policy, benchmark, protocol
KEYS = ("prompt_id", "sample_index")
DRAWN = pa.schema([GENERATIONS.field(name) for name in (*KEYS, "finish_reason", "n_tokens")])


def read_answers(graded: str, generations: str, k: int) -> Answers:
    """Read the graded answers of one policy to one benchmark by one protocol.

    Args:
        graded: parquet file with the grades.
        generations: parquet file with the responses that were graded.
        k: responses per problem.

    Returns:
        The answers, sorted by problem id and sample.

    Raises:
        InputError: a problem does not have exactly the samples 0 to k - 1, a reward is not 1, 0 or null, or the two
            files do not cover the same responses.
    """
    grades, drawn = (
        read_table(path, schema).sort_by([(key, "ascending") for key in KEYS])
        for path, schema in ((graded, GRADED_ANSWERS), (generations, DRAWN))
    )
    if any(grades[key].to_pylist() != drawn[key].to_pylist() for key in KEYS):
        raise InputError(
            f"{graded}: does not grade the responses in {generations}; delete it and run `snakemake` again"
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
            text is not None for status, text in zip(statuses, texts, strict=True) if status in ("correct", "incorrect")
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


def score_policies(policies: Sequence[Policy], evaluations: Iterable[Evaluation]) -> dict[Key, Scores]:
    """Score every evaluation, and pool the seeds of each run.

    Args:
        policies, evaluations: from the tables' plan.

    Returns:
        (policy, benchmark, protocol) -> scores; a run's name stands for all its seeds. If a benchmark's verifier
        returned any verdict without a text, no policy gets maj@k on that benchmark.

    Raises:
        InputError: an answer is missing, or the seeds of a run answered different problems.
    """
    known = {policy["policy"]: (policy["run"], policy["seed"]) for policy in policies}
    scores: dict[Key, Scores] = {}
    seeds: dict[Key, dict[int, Scores]] = {}
    answered = [(entry, read_answers(entry["graded"], entry["generations"], entry["k"])) for entry in evaluations]
    without_texts = {entry["benchmark"] for entry, answers in answered if not answers.has_texts}
    for entry, answers in answered:
        asked = (entry["benchmark"], entry["protocol"])
        vote = entry["benchmark"] not in without_texts
        scores[entry["policy"], *asked] = scored = score(answers, entry["temperature"], vote)
        run, seed = known[entry["policy"]]
        if run is not None and seed is not None:
            seeds.setdefault((run, *asked), {})[seed] = scored
    for key, of_seeds in seeds.items():
        try:
            scores[key] = pool(of_seeds)
        except ValueError as error:
            raise InputError(
                f"run {key[0]}, benchmark {key[1]}, protocol {key[2]}: its seeds answered "
                "different problems; run `snakemake -R generate_answers`"
            ) from error
    return scores


def summarize_scores(policies: Sequence[Policy], scores: Mapping[Key, Scores]) -> pd.DataFrame:
    """Make the summary table.

    Args:
        policies: as for `score_policies`.
        scores: the result of `score_policies`.

    Returns:
        A table with the columns of `columns.SUMMARY`, each run's pooled rows before those of its seeds.

    Raises:
        InputError: a run and its reference answered different problems.
    """
    rows = []
    for policy in with_pooled(policies):
        for key in (key for key in scores if key[0] == policy["policy"]):
            reference = scores.get((policy["reference"], *key[1:]))
            if reference is not None and reference.prompt_ids != scores[key].prompt_ids:
                raise InputError(
                    f"{policy['policy']} and its reference answered different problems of {key[1]}; "
                    "run `snakemake -R generate_answers`"
                )
            labels = {**policy, "benchmark": key[1], "protocol": key[2]}
            rows += [{**labels, **row} for row in score_rows(scores[key])]
    return frame(rows, SUMMARY)


def with_pooled(policies: Sequence[Policy]) -> list[Policy]:
    """All policies in the order of the summary: each run, with seed None, before its seeds."""
    ordered: dict[str, Policy] = {}
    for policy in policies:
        run = policy["run"]
        if run is not None and run not in ordered:
            pooled = policy.copy()
            pooled["policy"], pooled["seed"] = run, None
            ordered[run] = pooled
        ordered[policy["policy"]] = policy
    return list(ordered.values())
