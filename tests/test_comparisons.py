"""The table of differences: which policies are compared, and the verdicts."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from math import sqrt
from pathlib import Path

import pyarrow as pa
import pytest
from answers_case import policy, records, write_answers

import astarpo
from astarpo import tables
from astarpo.common.columns import CROSSINGS, DIFFERENCES
from astarpo.common.files import write_json, write_table
from astarpo.tables.ranking import Mark
from astarpo.tables.trainings import TIMINGS
from astarpo.tables.validation import NEEDED

T_63 = 1.998341  # the 97.5 % point of Student's t

# Five policies on 64 problems, 4 answers each, seed by seed: how many of the problems' answers are all right.
RIGHT = {
    "tiny": (20,),
    "good": (40, 41, 42),
    "same": (41, 41, 41),
    "poor": (30, 31, 32),
    "one": (60,),
}
TERMS = {"dataset": "d", "selection": None, "prompts_per_batch": 4}


def compare(folder, right=RIGHT, trainings=None):
    """Scores of runs (`tiny` is a reference), and the table of differences by pair, of avg@4."""
    policies, entries = [], []
    for name, counts in right.items():
        for seed, count in enumerate(counts):
            label = name if name == "tiny" else f"{name}.seed-{seed}"
            policies.append(policy(label) if name == "tiny" else policy(label, seed, name))
            rewards = [float(i < count) for i in range(64) for _ in range(4)]
            entries.append({"policy": label, **write_answers(folder, label, rewards, 4)})
    scores = tables.score_policies(policies, entries)
    if trainings is None:
        trainings = [{"run": name, "terms": TERMS} for name in right]
    table = tables.differences(policies, scores, trainings)
    assert list(table) == DIFFERENCES.names
    found = {(row["policy_a"], row["policy_b"]): row for row in records(table) if row["metric"] == "avg@4"}
    return tables.summarize_scores(policies, scores), table, found


def test_every_two_policies_are_compared(tmp_path):
    _, table, found = compare(tmp_path)
    assert set(found) == set(itertools.combinations(RIGHT, 2))
    assert set(table["metric"]) == {"avg@4", "pass@4", "maj@4"}
    row = found["good", "poor"]
    # Ten problems more in every seed, so only problems vary: problem by problem 1/3, 2/3, eight times 1, 2/3, 1/3.
    assert row["value"] == pytest.approx(10 / 64) and row["n_problems"] == 64
    reach = T_63 * sqrt((8 + 10 / 9 - 10**2 / 64) / 63 / 64)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((10 / 64 - reach, 10 / 64 + reach))
    assert (row["n_seeds_a"], row["n_seeds_b"], found["tiny", "good"]["n_seeds_a"]) == (3, 3, 0)
    assert row["paired_by_seed"] and row["interval_over"] == "problems and seeds"


def test_differences_are_corrected_for_the_number_of_pairs(tmp_path):
    _, _, found = compare(tmp_path)
    runs = [("good", "same"), ("good", "poor"), ("same", "poor")]
    references = [("tiny", "good"), ("tiny", "same"), ("tiny", "poor")]
    for family in (runs, references):
        # Three pairs each, those with the run of one seed left out: Holm, written out.
        ordered = sorted(family, key=lambda pair: found[pair]["p_value"])
        least = 0.0
        for place, pair in enumerate(ordered):
            least = max(least, min(1.0, (3 - place) * found[pair]["p_value"]))
            assert found[pair]["p_holm"] == pytest.approx(least)
            assert found[pair]["tied"] is (found[pair]["verdict"] == "tied") is (least >= 0.05)
    assert found["good", "same"]["verdict"] == "tied"
    assert found["good", "poor"]["verdict"] == "a_better"
    assert found["tiny", "good"]["verdict"] == "b_better"


def test_a_difference_that_is_clear_alone_may_be_tied_among_many(tmp_path):
    # Seed by seed 4, 5, 6 problems of 64: p is about 0.02. Ten pairs make that 0.2.
    two = {"a": (40, 41, 42), "b": (36, 36, 36)}
    many = {**two, "c": (36, 36, 37), "d": (36, 37, 36), "e": (37, 36, 36)}
    alone, among = (compare(tmp_path, right)[2]["a", "b"] for right in (two, many))
    assert alone["verdict"] == "a_better" and among["verdict"] == "tied"
    for name in ("value", "ci_low", "ci_high", "p_value"):
        assert among[name] == alone[name]


def test_with_one_seed_nothing_is_told(tmp_path):
    _, table, found = compare(tmp_path)
    for row in (row for row in records(table) if "one" in (row["policy_a"], row["policy_b"])):
        assert row["verdict"] == "cannot_tell" and row["interval_over"] == "problems"
        assert row["tied"] is row["p_value"] is row["p_holm"] is None
    row = found["tiny", "one"]
    reach = T_63 * sqrt(40 / 64 * 24 / 64 / 63)
    assert row["ci_high"] == pytest.approx(-40 / 64 + reach)
    assert (row["n_seeds_a"], row["n_seeds_b"]) == (0, 1)


def test_of_one_problem_nothing_is_told_however_many_seeds(tmp_path):
    rewards = {"good": (1.0, 1.0, 1.0), "poor": (0.0, 1.0, 0.0)}
    policies, entries = [], []
    for name, of_seeds in rewards.items():
        for seed, reward in enumerate(of_seeds):
            label = f"{name}.seed-{seed}"
            policies.append(policy(label, seed, name))
            entries.append({"policy": label, **write_answers(tmp_path, label, [reward] * 4, 4)})
    scores = tables.score_policies(policies, entries)
    for row in records(tables.differences(policies, scores)):
        assert (row["verdict"], row["tied"], row["p_holm"]) == ("cannot_tell", None, None)
        assert row["interval_over"] == "problems" and row["ci_low"] < 0 < row["ci_high"] == 1


def test_seeds_that_saw_other_prompts_are_not_paired(tmp_path):
    for key, value in (("dataset", "e"), ("selection", "s"), ("prompts_per_batch", 8)):
        trainings = [
            {"run": "good", "terms": TERMS},
            {"run": "poor", "terms": {**TERMS, key: value}},
        ]
        _, _, found = compare(tmp_path, {"good": (40, 44, 48), "poor": (30, 34, 38)}, trainings)
        assert not found["good", "poor"]["paired_by_seed"]
    _, _, paired = compare(tmp_path, {"good": (40, 44, 48), "poor": (30, 34, 38)})
    assert paired["good", "poor"]["p_value"] < found["good", "poor"]["p_value"] / 5


def test_policies_that_left_out_other_problems_are_compared_on_common_ones(tmp_path):
    entries = [
        {"policy": name, **write_answers(tmp_path, name, given)}
        for name, given in (("tiny", [1.0, 1.0]), ("other", [1.0, 0.0, 1.0, 1.0]))
    ]
    policies = [policy("tiny"), policy("other")]
    rows = records(tables.differences(policies, tables.score_policies(policies, entries)))
    assert {row["n_problems"] for row in rows} == {1}
    assert {row["value"] for row in rows if row["metric"] == "avg@2"} == {0.5}


# What is shown of it


def test_marks_go_by_the_corrected_verdicts(tmp_path):
    def marks(right):
        summary, differences, _ = compare(tmp_path, right)
        found = tables.rank_runs(summary, differences)
        return {key[0]: mark for key, mark in found.items() if key[3] == "avg@4"}

    three = {name: counts for name, counts in RIGHT.items() if name != "one"}
    assert marks(three) == {"good": Mark(1), "same": Mark(1), "poor": Mark(2)}
    three["same"] = (41, 41, 40)
    assert marks(three) == {"good": Mark(1), "same": Mark(2, "="), "poor": Mark(0)}
    assert marks(RIGHT) == {"one": Mark(1), "good": Mark(2, "?"), "same": Mark(2, "?"), "poor": Mark(0, "?")}


def test_changes_are_the_differences_to_the_reference_with_their_verdicts(tmp_path):
    right = {"tiny": (20,), "good": (30, 31, 32), "same": (20, 21, 19), "one": (30,)}
    summary, differences, found = compare(tmp_path, right)
    _, changes = tables.main_tables(summary, differences=differences)
    cells = {line[0]: line[1] for line in changes.texts}
    row = found["tiny", "good"]
    assert cells["good"] == f"+17.2 [{-100 * row['ci_high']:+.1f}, {-100 * row['ci_low']:+.1f}]"
    assert re.fullmatch(r"\+0\.0 \[-\d\.\d, \+\d\.\d\] tied", cells["same"])
    assert re.fullmatch(r"\+15\.6 \[\+\d\.\d, \+\d+\.\d\] cannot tell", cells["one"])
    assert "over problems and seeds" in changes.title and "Holm" in changes.title
    assert "cannot tell: too few seeds or problems" in changes.title
    told = differences[differences["policy_b"] != "one"]
    assert "cannot tell" not in tables.main_tables(summary, differences=told)[1].title


def test_a_run_of_one_seed_is_named_in_the_notes(tmp_path):
    summary, _, _ = compare(tmp_path)
    note = "95 % interval over problems and seeds; over problems for one: one seed"
    assert f"[{note} (of references" in tables.main_tables(summary)[0].title
    assert f"[{note} (of references" in tables.terminal_table(summary)
    assert note in tables.latex_table(summary)


# Finished results


def compared_anew(folder, out):
    script = Path(astarpo.__file__).parents[1] / "compare_runs.py"
    command = [sys.executable, script, "--results", folder, "--out", out]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_a_finished_folder_is_compared_anew(tmp_path):
    folder = tmp_path / "elsewhere"
    (folder / "tables").mkdir(parents=True)
    policies, entries, runs = [policy("tiny")], [], []
    entries.append({"policy": "tiny", **write_answers(folder, "tiny", [1.0, 0.0] * 32)})
    for name, seed in itertools.product(("go", "stay"), (0, 1)):
        label = f"{name}.seed-{seed}"
        policies.append(policy(label, seed, name))
        rewards = [1.0, 1.0, float(name == "go"), float(seed)] * 16
        entries.append({"policy": label, **write_answers(folder, label, rewards)})
        reward = 0.5 + 0.1 * (name == "go") + 0.01 * seed * (name == "go")
        steps = [{"step": 0, "generated_tokens": 0, "validation_reward": 0.4}]
        steps += [{"step": 5, "generated_tokens": 100, "validation_reward": reward}]
        metrics, timings = (folder / f"{label}.{part}.parquet" for part in ("metrics", "timings"))
        write_table(metrics, steps, pa.schema([*NEEDED, ("generated_tokens", pa.int64())]))
        spent = [{**dict.fromkeys(TIMINGS.names), "step": step, "step_seconds": float(step)} for step in (0, 5)]
        write_table(timings, spent, TIMINGS)
        runs.append(
            {
                "run": name,
                "method": {"go": "a_star_po", "stay": "grpo"}[name],
                "family": name,
                "seed": seed,
                "lr": 1e-3,
                "terms": {**TERMS, "updates_per_rollout": 1},
                "metrics": str(metrics),
                "timings": str(timings),
            }
        )
    plan = {"policies": policies, "evaluations": entries, "runs": runs}
    for entry in (
        *entries,
        *runs,
    ):  # as the workflow writes them: from the folder that `results` is in
        entry |= {
            key: f"results/{Path(entry[key]).name}"
            for key in ("generations", "graded", "metrics", "timings")
            if key in entry
        }
    write_json(folder / "tables" / "plan.json", plan)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    done = compared_anew(folder, tmp_path / "out")

    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    header, *lines = (tmp_path / "out" / "differences.csv").read_text().splitlines()
    assert header.split(",") == DIFFERENCES.names and len(lines) == 3 * 3
    assert (tmp_path / "out" / "summary.csv").exists()
    assert done.stdout == (tmp_path / "out" / "main.md").read_text()
    # +10 and +11 points by seed.
    assert "| stay | 50.0 | -10.5 [-16.9, -4.1] |" in done.stdout
    # From 40 to 60.5 on average in 5 s: at 50 after 5 / 2.05.
    assert "| go | stay | 50.0 | 2 of 2 | 2 | 5 | 0.49 [" in done.stdout
    assert (tmp_path / "out" / "crossings.csv").read_text().splitlines()[0].split(",") == CROSSINGS.names


def test_a_folder_without_a_plan_is_refused(tmp_path):
    done = compared_anew(tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "plan.json: no such file; --results must name" in done.stderr
