"""The table of differences: every pair of policies, and whether they differ significantly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from astarpo.common.columns import DIFFERENCES
from astarpo.common.frames import frame
from astarpo.evaluation.differences import Verdict, difference, holm, verdict
from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import Scores
from astarpo.tables.evaluations import Key, with_pooled
from astarpo.tables.plan import Policy, Terms, Training


class DifferenceRow(TypedDict):
    """The columns of `columns.DIFFERENCES`."""

    benchmark: str
    protocol: str
    metric: str
    policy_a: str
    policy_b: str
    value: float
    ci_low: float
    ci_high: float
    tied: bool | None
    n_problems: int
    p_value: float | None
    p_holm: float | None
    verdict: Verdict | None
    n_seeds_a: int
    n_seeds_b: int
    paired_by_seed: bool
    interval_over: str


class PromptsSeen(NamedTuple):
    """What determines, with the seed, which prompts a run sees and in which order."""

    dataset: str
    selection: str | None
    prompts_per_batch: int


def differences(
    policies: Sequence[Policy], scores: Mapping[Key, Scores], trainings: Sequence[Training] = ()
) -> pd.DataFrame:
    """Compare every pair of policies on the problems that both answered.

    Args:
        policies, scores: as for `evaluations.summarize_scores`.
        trainings: of the tables' plan: runs with equal `PromptsSeen` and equal seeds saw the same prompts in the same
            order, so their seeds are paired.

    Returns:
        A table with the columns of `columns.DIFFERENCES` for references and runs: greedy, avg@k, pass@k and maj@k of
        each protocol, a minus b. Within each column of the main table, p-values are corrected (Holm) for the number of
        pairs of runs, and separately for the number of pairs with a reference.
    """
    data = {training["run"]: prompts_seen(training["terms"]) for training in trainings}
    compared = [policy for policy in with_pooled(policies) if policy["seed"] is None]
    rows: list[DifferenceRow] = []
    for benchmark, protocol in dict.fromkeys(key[1:] for key in scores):
        answered = [one["policy"] for one in compared if (one["policy"], benchmark, protocol) in scores]
        for a, b in itertools.combinations(answered, 2):
            keys: tuple[Key, Key] = ((a, benchmark, protocol), (b, benchmark, protocol))
            rows += _compared(keys, scores, shared_data=data.get(a) == data.get(b))
    references = {policy["policy"] for policy in compared if policy["run"] is None}
    return frame(_corrected(rows, references), DIFFERENCES)


def prompts_seen(terms: Terms) -> PromptsSeen:
    """What determines, with the seed, which prompts a run sees and in which order."""
    return PromptsSeen(terms["dataset"], terms["selection"], terms["prompts_per_batch"])


def _compared(keys: tuple[Key, Key], scores: Mapping[Key, Scores], shared_data: bool) -> list[DifferenceRow]:
    """Rows for the metrics that both policies have, at the largest k."""
    a, b = (scores[key] for key in keys)
    answered = set(b.prompt_ids)
    common = [prompt_id for prompt_id in a.prompt_ids if prompt_id in answered]
    largest = max(k for _, k in a.metrics)
    names = [key for key in a.metrics if key in b.metrics and key[1] == largest]
    if not common:
        return []
    counts = [len(one.seeds) if one.seeds is not None else 0 for one in (a, b)]
    rows: list[DifferenceRow] = []
    for name in names:
        compared = difference(
            _of_problems(a, name, common), _of_problems(b, name, common), a.seeds, b.seeds, shared_data
        )
        rows.append(
            {
                "benchmark": keys[0][1],
                "protocol": keys[0][2],
                "policy_a": keys[0][0],
                "policy_b": keys[1][0],
                "metric": name[0],
                "value": compared.interval.value,
                "ci_low": compared.interval.low,
                "ci_high": compared.interval.high,
                "tied": None,
                "n_problems": len(common),
                "p_value": compared.p_value,
                "p_holm": None,
                "verdict": None,
                "n_seeds_a": counts[0],
                "n_seeds_b": counts[1],
                "paired_by_seed": compared.paired_by_seed,
                "interval_over": OVER_BOTH if max(counts) > 0 and compared.p_value is not None else OVER_PROBLEMS,
            }
        )
    return rows


def _of_problems(scores: Scores, name: tuple[str, int], prompt_ids: Sequence[str]) -> np.ndarray:
    """The scores of the given problems, [S, P]."""
    places = {prompt_id: place for place, prompt_id in enumerate(scores.prompt_ids)}
    return scores.metrics[name][:, [places[one] for one in prompt_ids]]


def _corrected(rows: list[DifferenceRow], references: set[str]) -> list[DifferenceRow]:
    """Fill in what depends on all pairs: corrected p-values and verdicts."""
    families: dict[tuple[str, str, str, bool], list[DifferenceRow]] = {}
    for row in rows:
        if row["p_value"] is not None:
            with_reference = bool(references & {row["policy_a"], row["policy_b"]})
            asked = (row["benchmark"], row["protocol"], row["metric"], with_reference)
            families.setdefault(asked, []).append(row)
    for family in families.values():
        p_values = [row["p_value"] for row in family if row["p_value"] is not None]
        for row, p in zip(family, holm(p_values), strict=True):
            row["p_holm"] = p
    for row in rows:
        row["verdict"] = verdict(row["value"], row["p_holm"])
        row["tied"] = None if row["p_holm"] is None else row["verdict"] == "tied"
    return rows
