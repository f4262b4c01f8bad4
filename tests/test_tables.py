from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers_case import policy, records, write_answers

import astarpo
from astarpo import tables
from astarpo.common.code import read_code
from astarpo.common.columns import COST, CROSSINGS, CURVES, DIFFERENCES, GRADED, SUMMARY
from astarpo.common.errors import InputError
from astarpo.common.files import read_table, sha256, write_json, write_table
from astarpo.common.frames import csv_text, frame, read_frame, write_frame
from astarpo.tables.ranking import Mark
from astarpo.tables.trainings import NEEDED_METRICS, TIMINGS

SCRIPTS = Path(astarpo.__file__).parents[1]
SETTINGS = '{"beta1":0.5,"beta2":0.001,"sampling":{"k":8}}'
METRICS = pa.schema([*NEEDED_METRICS, ("reward", pa.float64()), ("validation_reward", pa.float64())])


# Checks


def write_manifest(path, settings=SETTINGS, inputs=None, code="old", **more):
    write_json(path, {"settings": settings, "inputs": inputs or {}, "code": code, "commit": "abc", **more})
    return path


def test_check_accepts_what_belongs_together(tmp_path):
    path = write_manifest(tmp_path / "manifest.json", inputs={"values": "00ff"})
    found = tables.check_manifest(path, SETTINGS, {"values": "00ff"}, "train_policy")
    assert found["commit"] == "abc"


def test_check_notices_swapped_betas(tmp_path):
    path = write_manifest(tmp_path / "manifest.json")
    swapped = '{"beta1":0.001,"beta2":0.5,"sampling":{"k":8}}'
    with pytest.raises(InputError) as error:
        tables.check_manifest(path, swapped, {}, "train_policy")
    assert str(error.value) == (
        f"{path}: made with settings other than those of the configuration: beta1 was 0.5 and is "
        "0.001, beta2 was 0.001 and is 0.5. Run `snakemake -R train_policy`, or delete this file "
        "and run `snakemake` again."
    )


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        ('{"beta1":0.5,"beta2":0.001,"sampling":{"k":4}}', "sampling.k was 8 and is 4"),
        ('{"beta1":0.5,"beta2":0.001}', "sampling.k was 8 and is nothing"),
        ('{"a":null,"beta1":0.5,"beta2":0.001,"sampling":{"k":8}}', "a was nothing and is null"),
        ('{"beta1":0.5,"beta2":0.001,"sampling":{"k":8.0}}', "sampling.k was 8 and is 8.0"),
    ],
)
def test_check_names_the_setting_that_differs(tmp_path, now, difference):
    path = write_manifest(tmp_path / "manifest.json")
    with pytest.raises(InputError, match=difference):
        tables.check_manifest(path, now, {}, "train_policy")


def test_check_does_not_mind_order_and_spaces(tmp_path):
    path = write_manifest(tmp_path / "manifest.json")
    spaced = '{"sampling": {"k": 8}, "beta2": 0.001, "beta1": 0.5}'
    tables.check_manifest(path, spaced, {}, "train_policy")


def test_check_names_the_input_that_differs(tmp_path):
    path = write_manifest(tmp_path / "manifest.json", inputs={"values": "a" * 64, "dataset": "b"})
    message = "values was sha256 aaaaaaaaaaaa and is sha256 cccccccccccc. Run"
    with pytest.raises(InputError, match=message):
        tables.check_manifest(path, SETTINGS, {"values": "c" * 64, "dataset": "b"}, "train_policy")


def test_check_notices_an_input_more_or_less(tmp_path):
    path = write_manifest(tmp_path / "manifest.json", inputs={"values": "a"})
    with pytest.raises(InputError, match="values was sha256 a and is nothing"):
        tables.check_manifest(path, SETTINGS, {}, "train_policy")


def test_check_needs_a_record(tmp_path):
    write_table(tmp_path / "x.parquet", [], GRADED)
    with pytest.raises(InputError, match=r"x\.parquet: has no record"):
        tables.check_manifest(tmp_path / "x.parquet", SETTINGS, {}, "grade_answers")


def expected(file, **changed):
    entry = {"file": str(file), "rule": "grade_answers", "settings": SETTINGS, "inputs": {}}
    return {**entry, "chosen": [], **changed}


def checked_rows(entries):
    return records(tables.check_results(entries))


def test_other_code_is_reported_not_refused(tmp_path):
    (row,) = checked_rows([expected(write_manifest(tmp_path / "a.manifest.json"))])
    assert (row["code_sha256"], row["code_changed"], row["commit"]) == ("old", True, "abc")
    same = write_manifest(tmp_path / "b.manifest.json", code=row["current_code_sha256"])
    (row,) = checked_rows([expected(same)])
    assert row["code_changed"] is False


def test_the_modules_whose_code_differs_are_named(tmp_path):
    now = read_code("grade_answers", ()).modules
    then = {**now, "astarpo/rewards/numbers.py": "other", "astarpo/gone.py": "any"}
    (row,) = checked_rows([expected(write_manifest(tmp_path / "manifest.json", modules=then))])
    assert row["changed_modules"] == "astarpo/gone.py astarpo/rewards/numbers.py"


def test_results_are_compared_with_the_files_that_are_there(tmp_path):
    given = tmp_path / "data.parquet"
    given.write_text("one")
    path = write_manifest(tmp_path / "manifest.json", inputs={"data": sha256(given)})
    entry = expected(path, inputs={"data": str(given)})
    assert len(tables.check_results([entry])) == 1
    given.write_text("two")
    with pytest.raises(InputError, match="data was sha256"):
        tables.check_results([entry])
    given.unlink()
    with pytest.raises(InputError, match=r"its input .*data\.parquet is gone"):
        tables.check_results([entry])


def test_all_refused_results_are_named_at_once(tmp_path):
    paths = [write_manifest(tmp_path / f"{name}.manifest.json") for name in "ab"]
    entries = [expected(path, settings='{"beta1":1}') for path in paths]
    with pytest.raises(InputError) as error:
        tables.check_results(entries)
    assert all(str(path) in str(error.value) for path in paths) and "\n" not in str(error.value)


# Evaluations


def test_answers_are_joined_by_id(tmp_path):
    entry = write_answers(tmp_path, "a", [1.0, 0.0, None, 1.0], cut=[1])
    answers = tables.read_answers(entry["graded"], entry["generations"], 2)
    assert answers.prompt_ids == ("p0", "p1")
    assert answers.rewards_PK.tolist()[0] == [1.0, 0.0]
    assert answers.classes_PK == [[1, 0], [None, 1]]
    assert answers.tokens_PK.tolist() == [[10.0, 11.0], [12.0, 13.0]]
    assert answers.truncated_PK.tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(
    ("rewards", "k", "message"),
    [
        ([1.0, 0.0, 1.0], 2, r"problem p1 has the samples \[0\] instead of 0 to 1"),
        ([1.0, 0.5], 2, "column 'reward' must be 1, 0 or null"),
        ([], 2, "holds no answers"),
    ],
)
def test_bad_answers(tmp_path, rewards, k, message):
    entry = write_answers(tmp_path, "a", rewards, k)
    with pytest.raises(InputError, match=message):
        tables.read_answers(entry["graded"], entry["generations"], k)


def test_grades_of_other_responses(tmp_path):
    one = write_answers(tmp_path, "one", [1.0, 0.0])
    two = write_answers(tmp_path, "two", [1.0, 0.0, 1.0, 1.0])
    with pytest.raises(InputError, match=r"one\.graded\.parquet: does not grade the responses in"):
        tables.read_answers(one["graded"], two["generations"], 2)


POLICIES = [policy("tiny"), policy("go.seed-0", 0, "go"), policy("go.seed-1", 1, "go")]
REWARDS = {
    "tiny": [1.0, 0.0, 0.0, 0.0],
    "go.seed-0": [1.0, 1.0, 1.0, 0.0],
    "go.seed-1": [1.0, 1.0, 0.0, 0.0],
}


@pytest.fixture
def summarized(tmp_path):
    entries = [{"policy": name, **write_answers(tmp_path, name, rewards)} for name, rewards in REWARDS.items()]
    scores = tables.score_policies(POLICIES, entries)
    return tables.summarize_scores(POLICIES, scores), tables.differences(POLICIES, scores)


def test_summary_has_references_pooled_runs_and_seeds(summarized):
    rows = records(summarized[0])
    values = {(row["policy"], row["seed"], row["metric"]): row["value"] for row in rows}
    assert list(dict.fromkeys((row["policy"], row["run"], row["seed"]) for row in rows)) == [
        ("tiny", None, None),
        ("go", "go", None),
        ("go.seed-0", "go", 0),
        ("go.seed-1", "go", 1),
    ]
    assert values["tiny", None, "avg@2"] == 0.25
    assert values["go.seed-0", 0, "avg@2"] == 0.75
    assert values["go", None, "avg@2"] == 0.625
    assert values["go", None, "pass@2"] == 0.75
    assert {row["n_problems"] for row in rows} == {2}


def test_only_pooled_rows_are_over_seeds(summarized):
    rows = records(summarized[0])
    assert {(row["policy"], row["interval_over"]) for row in rows} == {
        ("tiny", "problems"),
        ("go", "problems and seeds"),
        ("go.seed-0", "problems"),
        ("go.seed-1", "problems"),
    }


def test_a_reference_that_answered_other_problems_is_refused(tmp_path):
    rewards = {**REWARDS, "tiny": [1.0, 0.0]}
    entries = [{"policy": name, **write_answers(tmp_path, name, given)} for name, given in rewards.items()]
    scores = tables.score_policies(POLICIES, entries)
    with pytest.raises(InputError, match="go and its reference answered different problems of sum"):
        tables.summarize_scores(POLICIES, scores)


def test_seeds_must_have_answered_the_same_problems(tmp_path):
    entries = [
        {"policy": "go.seed-0", **write_answers(tmp_path, "a", [1.0, 1.0])},
        {"policy": "go.seed-1", **write_answers(tmp_path, "b", [1.0, 1.0, 1.0, 1.0])},
    ]
    with pytest.raises(InputError, match="run go, benchmark sums, protocol sampled: its seeds"):
        tables.score_policies(POLICIES, entries)


# Ranking and the paper


def ranked(values, tied=(), untold=()):
    rows = [
        policy(name, run=name) | {"benchmark": "b", "protocol": "p", "metric": "avg@2", "value": v}
        for name, v in values.items()
    ]
    differences = [
        {
            "benchmark": "b",
            "protocol": "p",
            "metric": "avg@2",
            "policy_a": a,
            "policy_b": b,
            "verdict": "tied" if (a, b) in tied else "cannot_tell" if (a, b) in untold else "a_better",
        }
        for a in values
        for b in values
        if a < b
    ]
    columns = ["benchmark", "protocol", "metric", "policy_a", "policy_b", "verdict"]
    marks = tables.rank_runs(pd.DataFrame(rows), pd.DataFrame(differences, columns=columns))
    return {key[0]: (mark.place, mark.sign) for key, mark in marks.items()}


def test_best_second_and_tied():
    values = {"a": 0.5, "b": 0.6, "c": 0.4}
    assert ranked(values) == {"a": (2, ""), "b": (1, ""), "c": (0, "")}
    assert ranked(values, {("a", "b")})["a"] == (2, "=")
    assert ranked(values, {("b", "c")})["c"] == (0, "=")
    assert ranked(values, {("a", "c")})["c"] == (0, "")  # to the second, not to the best
    assert ranked(values, {("a", "b")}, {("b", "c")}) == {
        "a": (2, "="),
        "b": (1, ""),
        "c": (0, "?"),
    }


def test_equal_values_share_a_place_and_one_run_is_not_ranked():
    assert ranked({"a": 0.5, "b": 0.5}) == {"a": (1, ""), "b": (1, "")}
    assert ranked({"a": 0.5}) == {}


def test_marks_in_every_format(summarized):
    rows, _ = summarized
    key = ("go", "sums", "sampled", "avg@2")
    for mark, markdown, latex in (
        (Mark(1), "| **62.5** [", r"\textbf{62.5} {\scriptsize ["),
        (Mark(2, "="), "| <u>62.5</u> = [", r"\underline{62.5}$^{=}$ {"),
        (Mark(0, "?"), "| 62.5 ? [", r"& 62.5$^{?}$ {"),
    ):
        shown = tables.main_tables(rows, marks={key: mark})
        assert markdown in tables.markdown_tables(shown)
        made = tables.latex_table(rows, marks={key: mark})
        assert latex in made
        for text in (shown[0].title, made.splitlines()[0]):
            assert "best run bold" in text and "over problems and seeds" in text
            assert ("= not different from the best after Holm's" in text) == (mark.sign == "=")
            assert ("? may equal the best" in text) == (mark.sign == "?")
        assert f'\ngo,"62.5 {mark.sign + " " if mark.sign else ""}[' in csv_text(shown[0].plain())
    page = tables.tables_page("t", tables.main_tables(rows, marks={key: Mark(1)}))
    assert "<b>62.5</b>" in page


def costs(run, method, seconds, memory, kl, stage1=None):
    return dict.fromkeys(COST.names) | {
        "run": run,
        "method": method,
        "stage1_seconds": stage1,
        "stage2_seconds": seconds,
        "peak_memory_bytes": memory,
        "kl_per_token": kl,
    }


PAPER = SCRIPTS.parent / "config/paper/main_table.csv"


def test_ratios_here_and_in_the_paper():
    rows = [
        costs("ours", "a_star_po", 100.0, 10, 0.1, 50.0),
        costs("group", "grpo", 300.0, 12, 0.2),
    ]
    table = tables.ratio_table(pd.DataFrame(rows), tables.read_paper(PAPER))
    assert table.head[:3] == [["run"], ["time, both stages", "here"], ["time, both stages", "paper"]]
    # 15.01 / 6.92, 18.26 / 8.78 and 20.15 / 11.01 hours.
    assert table.texts == [
        ["group", "2.00", "1.83 to 2.17", "3.00", "1.83 to 2.17", "1.20", "1.01 to 1.02", "2.00", "1.24 to 2.21"]
    ]


def test_no_ratios_without_both():
    paper = tables.read_paper(PAPER)
    assert tables.ratio_table(pd.DataFrame([costs("ours", "a_star_po", 1.0, 1, 1.0)]), paper) is None
    assert tables.ratio_table(pd.DataFrame([costs("group", "grpo", 1.0, 1, 1.0)]), paper) is None
    row = tables.ratio_table(
        pd.DataFrame([costs("o", "a_star_po", 1.0, 1, None), costs("x", "reinforce", 2.0, 1, 1.0)]), paper
    )
    assert row.texts == [["x", "2.00", "", "2.00", "", "1.00", "", "", ""]]


# Trainings


def write_run(folder, steps=20, seed=0, stage1=(2.0, 3.0)):
    metrics = [dict.fromkeys(METRICS.names) | {"step": 0, "validation_reward": 0.4}]
    timings = [dict.fromkeys(TIMINGS.names) | {"step": 0}]
    for step in range(1, steps + 1):
        metrics.append(
            {
                "step": step,
                "generated_tokens": 10,
                "trained_tokens": 9,
                "kl_per_token": 0.1 * step,
                "kl_per_sequence": float(step),
                "log_ratio_per_token": -0.1 * step,
                "log_ratio": -float(step),
                "reward": 0.5,
                "validation_reward": None,
            }
        )
        timings.append(
            {
                "step": step,
                "generate_seconds": 1.0,
                "grade_seconds": 0.25,
                "reference_seconds": 0.5,
                "update_seconds": 2.0,
                "step_seconds": 3.75,
                "peak_memory_bytes": 100 + step,
            }
        )
    folder.mkdir(exist_ok=True)
    files = {name: str(folder / f"{name}.parquet") for name in ("metrics", "timings")}
    write_table(files["metrics"], metrics[::-1], METRICS)  # joined by step, not by place
    write_table(files["timings"], timings, TIMINGS)
    manifest = folder / "manifest.json"
    made = {"settings": SETTINGS, "inputs": {}, "outputs": {}, "hardware": "1 x abacus"}
    write_json(manifest, {**made, "seed": seed})
    blocks = []
    for place, seconds in enumerate(stage1):
        blocks.append(str(folder / f"block-s0-p{place}.manifest.json"))
        write_json(blocks[-1], {**made, "seconds": seconds})
    run = {"run": "go", "seed": 0, "method": "a_star_po", "manifest": str(manifest)}
    terms = {
        "dataset": "d",
        "selection": None,
        "prompts_per_batch": 4,
        "responses_per_prompt": 1,
        "updates_per_rollout": 1,
    }
    return {**run, **files, "stage1": blocks, "terms": terms}


def test_curves_are_long_and_cumulative(tmp_path):
    table = tables.curve_table([write_run(tmp_path, steps=2)])
    assert list(table) == CURVES.names
    rows = records(table)
    assert [
        (row["step"], row["seconds"], row["generated_tokens"], row["value"]) for row in rows if row["name"] == "reward"
    ] == [(1, 3.75, 10, 0.5), (2, 7.5, 20, 0.5)]
    looks = [row for row in rows if row["name"] == "validation_reward"]
    assert [(row["step"], row["seconds"], row["value"]) for row in looks] == [(0, 0.0, 0.4)]


def test_cost(tmp_path):
    table = tables.cost_table([write_run(tmp_path)])
    assert list(table) == COST.names
    (row,) = records(table)
    assert row == {
        "run": "go",
        "method": "a_star_po",
        "seed": 0,
        "stage1_seconds": 5.0,
        "stage2_seconds": 75.0,
        "generate_seconds": 20.0,
        "grade_seconds": 5.0,
        "reference_seconds": 10.0,
        "update_seconds": 40.0,
        "generated_tokens": 200,
        "trained_tokens": 180,
        "peak_memory_bytes": 120,
        "kl_per_token": pytest.approx(1.95),
        "kl_per_sequence": 19.5,
        "log_ratio_per_token": pytest.approx(-1.95),
        "log_ratio": -19.5,
        "hardware": "1 x abacus",
        "last_step": None,  # older manifests do not say
        "exported_step": None,
        "ended_by": None,
    }


def test_trainings_that_ended_early_or_exported_another_step_are_listed():
    def row(seed, last_step, exported_step, ended_by):
        made = {"run": "go", "seed": seed, "last_step": last_step, "exported_step": exported_step, "ended_by": ended_by}
        return {**dict.fromkeys(COST.names), **made}

    planned = [row(0, 9, 9, "steps"), row(1, 7, 7, "max_generated_tokens"), row(2, None, None, None)]
    assert tables.endings_table(frame(planned, COST)) is None
    others = [row(3, 9, 4, "steps"), row(4, 6, 6, "kl_per_sequence"), row(5, 8, 2, "validation_below_best")]
    assert tables.endings_table(frame(planned + others, COST)).texts == [
        ["go", "3", "9", "as planned", "4"],
        ["go", "4", "6", "early, by stop_when.kl_per_sequence", "6"],
        ["go", "5", "8", "early, by stop_when.validation_below_best", "2"],
    ]


def test_cost_of_few_steps_without_stage_one(tmp_path):
    (row,) = records(tables.cost_table([write_run(tmp_path, steps=3, stage1=())]))
    assert row["stage1_seconds"] is None
    assert row["kl_per_sequence"] == 3.0


def test_what_imported_samples_cost_is_not_known(tmp_path):
    run = write_run(tmp_path)
    block = Path(run["stage1"][0])
    block.write_text(json.dumps({**json.loads(block.read_text()), "imported": {}}))
    assert tables.cost_table([run])["stage1_seconds"].isna().all()


def test_manifest_of_another_seed(tmp_path):
    with pytest.raises(InputError, match="belongs to seed 1, not to seed 0"):
        tables.cost_table([write_run(tmp_path, seed=1)])


def test_metrics_and_timings_of_other_steps(tmp_path):
    run = write_run(tmp_path / "a")
    run["timings"] = write_run(tmp_path / "b", steps=4)["timings"]
    with pytest.raises(InputError, match=r"must have the same steps, each once \(21 and 5 rows\)"):
        tables.curve_table([run])


# Text


def test_terminal_table(summarized):
    """Two problems say little: for the reference 12.7 (t of one degree of freedom) times 0.25, as Wilson's interval."""
    rows, _ = summarized
    assert tables.terminal_table(rows).splitlines() == [
        "sums: 2 problems, percent right",
        "           avg@2                       pass@2",
        "tiny        25.0 [0.1, 99.0]            50.0",
        "go          62.5 [0.4, 99.9] (+37.5)    75.0 (+25.0)",
        "  seed 0    75.0 [1.0, 99.9] (+50.0)   100.0 (+50.0)",
        "  seed 1    50.0 [0.2, 99.8] (+25.0)    50.0 (+0.0)",
        "",
        "[95 % interval over problems and seeds (of references and single seeds: over problems)]  "
        "(change to the reference in points)",
    ]


def test_terminal_table_of_one_problem(summarized):
    assert tables.terminal_table(summarized[0].assign(n_problems=1)).startswith("sums: 1 problem, percent right\n")


def test_terminal_table_says_that_grades_are_missing(summarized):
    rows = summarized[0].assign(null_share=0.015)
    assert "grades not known, counted as wrong: up to 1.50%" in tables.terminal_table(rows)


def test_terminal_table_tells_protocols_with_the_same_metric_apart(summarized):
    rows = pd.concat([summarized[0], summarized[0].assign(protocol="hot")])
    header = tables.terminal_table(rows).splitlines()[1].split("   ")
    assert [cell.strip() for cell in header if cell] == [
        "avg@2 (sampled)",
        "avg@2 (hot)",
        "pass@2 (sampled)",
        "pass@2 (hot)",
    ]


COSTS = pd.DataFrame(
    [
        {
            "run": "go",
            "stage1_seconds": 60.0,
            "stage2_seconds": 60.0 * seed,
            "peak_memory_bytes": 2**30,
            "kl_per_token": 0.5,
        }
        for seed in (1, 2)
    ]
)


def test_markdown_lists_single_seeds_and_changes(summarized):
    title, empty, *lines = tables.markdown_tables(tables.main_tables(summarized[0], COSTS, summarized[1])).splitlines()
    assert title.endswith(":") and "over problems and seeds" in title and empty == ""
    assert lines[0] == (
        "| policy | sums<br>avg@2 | sums<br>pass@2 | sums<br>maj@2 | time, min | memory, GiB | KL per token |"
    )
    assert lines[2].startswith("| tiny | 25.0 [0.1, 99.0] | 50.0 [0.2, 99.8] |")
    assert lines[2].endswith("|  |  |  |")
    assert lines[3].startswith("| go | 62.5 [0.4, 99.9] |")
    assert lines[3].endswith("| 2.5 | 1.00 | 0.5 |")
    assert lines[4].startswith("| go, seeds 0, 1 | 75.0 / 50.0 | 100.0 / 50.0 |")
    assert lines[-1].startswith("| go | +37.5 [-100.0, +100.0] tied |")
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_five_seeds_are_not_listed(summarized):
    (one,) = [row for row in records(summarized[0]) if row["policy"] == "go.seed-0" and row["k"] == 1]
    seeds = [{**one, "policy": f"go.seed-{seed}", "seed": seed} for seed in range(5)]
    rows = [{**one, "policy": "go", "seed": None}, *seeds]
    assert "| go, seeds" not in tables.markdown_tables(tables.main_tables(pd.DataFrame(rows)))
    assert "| go, seeds 0, 1, 2, 3 |" in tables.markdown_tables(tables.main_tables(pd.DataFrame(rows[:5])))


def test_latex_rows_have_as_many_cells_as_the_head(summarized):
    lines = tables.latex_table(summarized[0], COSTS).splitlines()
    assert lines[2] == r"\begin{tabular}{lrrrrrr}"
    assert lines[4] == r" & \multicolumn{3}{c}{sums} & \multicolumn{3}{c}{cost} \\"
    assert lines[5] == r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}"
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert [line.count("&") for line in body] == [6, 6, 6]
    assert body[0].startswith(r"tiny & 25.0 {\scriptsize [0.1, 99.0]} & ")


def test_the_page_shows_the_main_tables_and_escapes_names(summarized):
    rows, changes = summarized
    shown = tables.tables_page("a < b", tables.main_tables(rows, COSTS, changes))
    assert "<title>a &lt; b</title>" in shown and "<th>sums<br>avg@2</th>" in shown
    assert shown.count("<table>") == 2 and "<td>25.0 [0.1, 99.0]</td>" in shown


def test_csv_has_null_as_nothing_and_numbers_in_full():
    schema = pa.schema([("c", pa.string()), ("b", pa.float64()), ("a", pa.int64())])
    assert csv_text(frame([{"a": None, "b": 1 / 3, "c": "x,y"}], schema)) == 'c,b,a\n"x,y",0.3333333333333333,\n'


def test_tables_keep_null_apart_from_nan_and_whole_numbers_whole(tmp_path):
    schema = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("b", pa.bool_())])
    rows = [{"n": None, "x": None, "b": None}, {"n": 2**60 + 1, "x": float("nan"), "b": True}]
    write_frame(tmp_path / "t.parquet", tmp_path / "t.csv", frame(rows, schema), schema, {"made": "here"})
    assert (tmp_path / "t.csv").read_text() == "n,x,b\n,,\n1152921504606846977,nan,True\n"
    kept = read_table(tmp_path / "t.parquet", schema)
    assert str(kept.to_pylist()) == str(rows)
    assert csv_text(read_frame(tmp_path / "t.parquet", schema)) == (tmp_path / "t.csv").read_text()


# The script


def run_summarize(folder, plan, plan_sha256=None):
    write_json(folder / "plan.json", plan)
    settings = {
        "plan_sha256": plan_sha256 or sha256(folder / "plan.json"),
    }
    options = ["--settings", json.dumps(settings), "--plan", folder / "plan.json"]
    for table in ("summary", "differences", "curves", "crossings", "cost"):
        options += [f"--out-{table}", folder / f"{table}.csv"]
        options += [f"--out-{table}-parquet", folder / f"{table}.parquet"]
    options += ["--paper", SCRIPTS.parent / "config/paper/main_table.csv"]
    for name in ("markdown", "latex", "html", "main-csv", "terminal", "provenance"):
        options += [f"--out-{name}", folder / name]
    command = [sys.executable, SCRIPTS / "summarize.py", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_summarize(tmp_path):
    entries = [{"policy": name, **write_answers(tmp_path, name, rewards)} for name, rewards in REWARDS.items()]
    run = write_run(tmp_path / "run")
    plan = {"policies": POLICIES, "evaluations": entries, "runs": [run]}
    plan["expected"] = [expected(run["manifest"])]
    done = run_summarize(tmp_path, plan)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith((tmp_path / "terminal").read_text())
    assert "results made by other code: 1 (which was not recorded)," in done.stdout
    schemas = {"summary": SUMMARY, "differences": DIFFERENCES, "curves": CURVES, "crossings": CROSSINGS, "cost": COST}
    for name, schema in schemas.items():
        table = read_table(tmp_path / f"{name}.parquet", schema)
        assert table.num_rows == len((tmp_path / f"{name}.csv").read_text().splitlines()) - 1
        assert b"provenance" in pq.read_schema(tmp_path / f"{name}.parquet").metadata

    plan["expected"] = [expected(run["manifest"], settings='{"beta1":0.001,"beta2":0.5}')]
    (tmp_path / "summary.csv").unlink()
    refused = run_summarize(tmp_path, plan)
    assert refused.returncode == 1
    assert "beta1 was 0.5 and is 0.001" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "summary.csv").exists()


def test_an_old_plan_is_not_believed(tmp_path):
    plan = {"policies": [], "evaluations": [], "runs": [], "expected": []}
    done = run_summarize(tmp_path, plan, plan_sha256="0" * 64)
    assert done.returncode == 1 and "is not the plan of this configuration" in done.stderr
