"""Scores of every policy by kind of problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from astarpo.common.columns import DATASET, SUMMARY
from astarpo.common.files import read_table
from astarpo.common.frames import frame
from astarpo.evaluation.scores import Scores, score_rows
from astarpo.tables.evaluations import Key, with_pooled
from astarpo.tables.plan import Evaluation, Policy
from astarpo.tables.results import percent
from astarpo.tables.shown import Cell, ShownTable

SCORES = ("metric", "k", "value", "ci_low", "ci_high", "n_problems", "interval_over")
KINDS = pa.schema(
    [
        *(SUMMARY.field(name) for name in ("policy", "run", "seed", "benchmark", "protocol")),
        ("problem_kind", pa.string()),
        *(SUMMARY.field(name) for name in SCORES),
    ]
)


def read_kinds(evaluations: Iterable[Evaluation]) -> dict[str, dict[str, str]]:
    """Read the kind of each problem.

    Args:
        evaluations: from the tables' plan.

    Returns:
        Benchmark -> prompt id -> kind, in the order of the file; benchmarks whose problems have no kind are left out.
    """
    kinds = {}
    for benchmark, path in {entry["benchmark"]: entry["problems"] for entry in evaluations}.items():
        table = read_table(path, DATASET)
        named = zip(table["prompt_id"].to_pylist(), table["problem_kind"].to_pylist(), strict=True)
        of_problems = {prompt_id: kind for prompt_id, kind in named if kind is not None}
        if of_problems:
            kinds[benchmark] = of_problems
    return kinds


def kinds_table(
    policies: Sequence[Policy], scores: Mapping[Key, Scores], kinds: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Score every policy on the problems of each kind.

    Args:
        policies: from the tables' plan.
        scores: the result of `evaluations.score_policies`.
        kinds: the result of `read_kinds`.

    Returns:
        A table with the columns of `KINDS`, kinds in the order of the benchmark; problems without a kind are left out.
    """
    rows = []
    for policy in with_pooled(policies):
        for key in (key for key in scores if key[0] == policy["policy"] and key[1] in kinds):
            of_problems = kinds[key[1]]
            labels = {**policy, "benchmark": key[1], "protocol": key[2]}
            for kind in dict.fromkeys(of_problems.values()):
                some = [prompt_id for prompt_id in scores[key].prompt_ids if of_problems.get(prompt_id) == kind]
                rows += [{**labels, "problem_kind": kind, **row} for row in score_rows(_only(scores[key], some))]
    return frame([{name: row[name] for name in KINDS.names} for row in rows], KINDS)


def _only(scores: Scores, prompt_ids: Sequence[str]) -> Scores:
    wanted = set(prompt_ids)
    columns_P = np.array([place for place, one in enumerate(scores.prompt_ids) if one in wanted])
    metrics = {key: values_SP[:, columns_P] for key, values_SP in scores.metrics.items()}
    return Scores(tuple(prompt_ids), metrics, scores.responses, scores.seeds)


def kind_tables(table: pd.DataFrame) -> list[ShownTable]:
    """Show the main metrics of references and runs, one table for each benchmark, protocol and metric.

    Args:
        table: the result of `kinds_table`.
    """
    pooled = table[table["seed"].isna()]
    largest = pooled.groupby(["benchmark", "protocol"])["k"].transform("max")
    shown = []
    for (benchmark, protocol, metric), rows in pooled[pooled["k"] == largest].groupby(
        ["benchmark", "protocol", "metric"], sort=False
    ):
        sizes = dict(zip(rows["problem_kind"], rows["n_problems"], strict=True))
        body: list[list[str | Cell]] = []
        for policy, of_policy in rows.groupby("policy", sort=False):
            by_kind = {row.problem_kind: row for row in of_policy.itertuples()}
            cells = [
                Cell(percent(one.value), f"[{percent(one.ci_low)}, {percent(one.ci_high)}]") for one in by_kind.values()
            ]
            body.append([str(policy), *cells])
        title = f"{benchmark}, {protocol}: {metric} by kind of problem, in percent [95 % interval]"
        head: list[str | tuple[str, ...]] = [
            "policy",
            *((str(kind), f"{size} problems") for kind, size in sizes.items()),
        ]
        shown.append(ShownTable.of(title, head, body))
    return shown
