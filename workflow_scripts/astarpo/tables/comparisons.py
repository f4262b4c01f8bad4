"""The table of differences: every two policies, and whether they can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from astarpo.evaluation.differences import difference, holm, verdict
from astarpo.evaluation.intervals import OVER_BOTH, OVER_PROBLEMS
from astarpo.evaluation.scores import Scores
from astarpo.tables.evaluations import Entry, Key, with_pooled


def differences(
    policies: Sequence[Entry], scores: Mapping[Key, Scores], trainings: Sequence[Entry] = ()
) -> list[dict[str, Any]]:
    """Compare every two policies on the problems that both answered.

    Args:
        policies, scores: as for `evaluations.summarize_scores`.
        trainings: ``run`` and ``terms`` (``dataset``, ``selection``, ``prompts_per_batch``) of each: runs with equal
            ones and equal seeds saw the same prompts in the same order, so their seeds are paired.

    Returns:
        Rows of `columns.DIFFERENCES` for references and runs: greedy, avg@k, pass@k and maj@k of each protocol, a minus
        b. In each column of the main table the p-values are corrected for the number of pairs (Holm): once for the
        pairs of runs, once for those with a reference.
    """
    data = {training["run"]: prompts_seen(training["terms"]) for training in trainings}
    compared = [entry for entry in with_pooled(policies) if entry["seed"] is None]
    rows = []
    for benchmark, protocol in dict.fromkeys(key[1:] for key in scores):
        own = [one for one in compared if (one["policy"], benchmark, protocol) in scores]
        for a, b in itertools.combinations(own, 2):
            names = (a["policy"], b["policy"])
            pair = [scores[name, benchmark, protocol] for name in names]
            shared = data.get(names[0]) == data.get(names[1])
            labels = {"benchmark": benchmark, "protocol": protocol}
            labels |= dict(zip(("policy_a", "policy_b"), names, strict=True))
            rows += _compared(pair[0], pair[1], labels, shared)
    references = {entry["policy"] for entry in compared if entry["run"] is None}
    return _corrected(rows, references)


def prompts_seen(terms: Entry) -> tuple[Any, ...]:
    """What decides, with the seed, which prompts a run sees and in which order.

    Args:
        terms: ``dataset``, ``selection`` and ``prompts_per_batch`` of the run.
    """
    return terms["dataset"], terms["selection"], terms["prompts_per_batch"]


def _compared(a: Scores, b: Scores, labels: Entry, shared_data: bool) -> list[dict[str, Any]]:
    answered = set(b.prompt_ids)
    common = [prompt_id for prompt_id in a.prompt_ids if prompt_id in answered]
    largest = max(k for _, k in a.metrics)
    names = [key for key in a.metrics if key in b.metrics and key[1] == largest]
    if not common:
        return []
    counts = [len(one.seeds) if one.seeds is not None else 0 for one in (a, b)]
    rows = []
    for name in names:
        found = difference(_of_problems(a, name, common), _of_problems(b, name, common), a.seeds, b.seeds, shared_data)
        told = found.p_value is not None
        rows.append(
            {
                **labels,
                "metric": name[0],
                "value": found.interval.value,
                "ci_low": found.interval.low,
                "ci_high": found.interval.high,
                "tied": None,
                "n_problems": len(common),
                "p_value": found.p_value,
                "p_holm": None,
                "verdict": None,
                "n_seeds_a": counts[0],
                "n_seeds_b": counts[1],
                "paired_by_seed": found.paired_by_seed,
                "interval_over": OVER_BOTH if max(counts) > 0 and told else OVER_PROBLEMS,
            }
        )
    return rows


def _of_problems(scores: Scores, name: tuple[str, int], prompt_ids: Sequence[str]) -> np.ndarray:
    """The scores of some of the problems, [S, P]."""
    places = {prompt_id: place for place, prompt_id in enumerate(scores.prompt_ids)}
    return scores.metrics[name][:, [places[one] for one in prompt_ids]]


def _corrected(rows: list[dict[str, Any]], references: set[str]) -> list[dict[str, Any]]:
    """Fill in what depends on the other pairs: corrected p-values and verdicts."""
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["p_value"] is not None:
            with_reference = bool(references & {row["policy_a"], row["policy_b"]})
            asked = (row["benchmark"], row["protocol"], row["metric"], with_reference)
            families.setdefault(asked, []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p_value"] for row in family]), strict=True):
            row["p_holm"] = p
    for row in rows:
        row["verdict"] = verdict(row["value"], row["p_holm"])
        row["tied"] = None if row["p_holm"] is None else row["verdict"] == "tied"
    return rows
