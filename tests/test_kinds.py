"""Scores by kind of problem: by hand, pooled over seeds, and only where problems have kinds."""

from __future__ import annotations

import copy
import json
import sys

import pytest
from answers_case import policy, records, write_answers
from config_case import DEFAULT

from astarpo import tables
from astarpo.common.columns import DATASET
from astarpo.common.files import write_table
from astarpo.config import load_config
from astarpo.config.targets import tables as targets
from astarpo.tables.kinds import kind_tables, kinds_table, read_kinds

POLICIES = [policy("tiny"), policy("go.seed-0", 0, "go"), policy("go.seed-1", 1, "go")]
# Four problems with two responses each.
REWARDS = {
    "tiny": [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0],
    "go.seed-0": [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
    "go.seed-1": [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
}
KINDS = {"p3": "differences", "p0": "sums", "p2": None, "p1": "sums"}


@pytest.fixture
def evaluations(tmp_path):
    rows = [{**dict.fromkeys(DATASET.names), "prompt_id": one, "problem_kind": kind} for one, kind in KINDS.items()]
    write_table(tmp_path / "problems", rows, DATASET)
    return [
        {"policy": name, "problems": str(tmp_path / "problems"), **write_answers(tmp_path, name, rewards)}
        for name, rewards in REWARDS.items()
    ]


def test_scores_of_each_kind_by_hand(evaluations):
    found = kinds_table(POLICIES, tables.score_policies(POLICIES, evaluations), read_kinds(evaluations))
    by_key = {(row["policy"], row["problem_kind"], row["metric"]): row for row in records(found)}
    assert {key: by_key[(*key, "avg@2")]["value"] for key in {one[:2] for one in by_key}} == {
        ("tiny", "differences"): 0.5,
        ("tiny", "sums"): 0.25,
        ("go", "differences"): 1.0,
        ("go", "sums"): pytest.approx((0.5 + 0.75) / 2),
        ("go.seed-0", "differences"): 1.0,
        ("go.seed-0", "sums"): 0.5,
        ("go.seed-1", "differences"): 1.0,
        ("go.seed-1", "sums"): 0.75,
    }
    assert by_key["tiny", "sums", "pass@2"]["value"] == 0.5
    assert by_key["go", "sums", "avg@2"]["n_problems"] == 2  # the problem without a kind is left out
    assert by_key["go", "sums", "avg@2"]["interval_over"] == "problems and seeds"


def test_the_tables_have_a_column_for_each_kind_and_a_row_for_each_run(evaluations):
    found = kinds_table(POLICIES, tables.score_policies(POLICIES, evaluations), read_kinds(evaluations))
    shown = {one.title.split(",")[1].split(":")[1].split(" ")[1]: one for one in kind_tables(found)}
    assert list(shown) == ["avg@2", "pass@2", "maj@2"]
    assert shown["avg@2"].head == [["policy"], ["differences", "1 problems"], ["sums", "2 problems"]]
    assert [[cell.text for cell in row] for row in shown["avg@2"].rows] == [
        ["tiny", "50.0", "25.0"],
        ["go", "100.0", "62.5"],
    ]


def test_problems_without_kinds_have_no_table(tmp_path, evaluations):
    rows = [{**dict.fromkeys(DATASET.names), "prompt_id": one} for one in KINDS]
    write_table(tmp_path / "problems", rows, DATASET)
    assert read_kinds(evaluations) == {}


def test_the_script_writes_the_table(tmp_path, evaluations, monkeypatch):
    import show_kinds

    from astarpo.common.files import sha256, write_text

    write_text(tmp_path / "plan.json", json.dumps({"policies": POLICIES, "evaluations": evaluations}))
    settings = json.dumps({"plan_sha256": sha256(tmp_path / "plan.json")})
    paths = {name: str(tmp_path / f"kinds.{name}") for name in ("csv", "markdown", "html")}
    outputs = [part for name, path in paths.items() for part in (f"--out-{name}", path)]
    monkeypatch.setattr(
        sys, "argv", ["show_kinds", "--settings", settings, "--plan", str(tmp_path / "plan.json"), *outputs]
    )
    show_kinds.main()
    assert "tiny,,,sums,sampled,differences,avg@2,2,0.5," in (tmp_path / "kinds.csv").read_text()
    assert "differences" in (tmp_path / "kinds.html").read_text()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"source": {"kind": "arithmetic", "count": 100}, "verifier": "integer"}, True),
        ({"source": {"kind": "local", "path": "x.jsonl"}, "columns": {"problem_kind": "subject"}}, True),
    ],
)
def test_the_table_is_a_target_where_a_benchmark_has_kinds(change, expected):
    raw = copy.deepcopy(DEFAULT)
    raw["benchmarks"]["held-out"] |= change
    assert ("results/tables/kinds.csv" in targets(load_config(raw))) == expected
