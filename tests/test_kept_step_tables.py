"""The table and the figure of kept steps: scores by hand, what was spent until then, and what the workflow plans."""

import json
import sys

import pytest
from answers_case import policy, records, write_answers
from config_case import DEFAULT, changed, settings

from astarpo.common.errors import InputError
from astarpo.common.files import sha256, write_json, write_table, write_text
from astarpo.common.frames import read_frame
from astarpo.common.kept_steps import KEPT_STEPS
from astarpo.config import load_config
from astarpo.config.expected import expected_results
from astarpo.config.paths import model_path, policy_path, run_of, seed_of, step_of
from astarpo.config.policies import benchmarks_of, lists_of_steps, policies, reference_of
from astarpo.config.stages.table import find_stage
from astarpo.config.tables_plan import tables_plan
from astarpo.config.targets import tables, train
from astarpo.figures import kept_steps
from astarpo.figures.settings import KeptSteps
from astarpo.tables.kept_steps import kept_steps_table, plan_with_steps, shown_steps
from astarpo.tables.trainings import NEEDED_METRICS, TIMINGS
from astarpo.training.metrics import METRICS

# Two problems with two responses each: avg@2 is the mean. Seed 1 ended after step 2, and exported its step 1.
REWARDS = {
    "tiny": [1.0, 0.0, 0.0, 0.0],
    "go.seed-0": [1.0, 1.0, 1.0, 1.0],
    "go.seed-1": [1.0, 0.0, 0.0, 1.0],
    "go.seed-0.step-2": [1.0, 1.0, 1.0, 0.0],
    "go.seed-1.step-2": [0.0, 0.0, 0.0, 1.0],
    "go.seed-0.step-3": [1.0, 1.0, 0.0, 0.0],
    "go.seed-1.step-3": [1.0, 0.0, 0.0, 1.0],  # the stand-in for a step that was not reached
}
LAST = {0: 4, 1: 2}


def write_training(folder, seed):
    """Step k of seed s generates 10 tokens, trains on 5 + s, and takes k seconds."""
    steps = range(LAST[seed] + 1)
    empty = dict.fromkeys((*METRICS.names, *NEEDED_METRICS.names))
    metrics = [
        {**empty, "step": k, "generated_tokens": 10 if k else None, "trained_tokens": 5 + seed if k else None}
        for k in steps
    ]
    timings = [{**dict.fromkeys(TIMINGS.names), "step": k, "step_seconds": float(k) if k else None} for k in steps]
    write_table(folder / f"metrics-{seed}.parquet", metrics, METRICS)
    write_table(folder / f"timings-{seed}.parquet", timings, TIMINGS)
    exported = 1 if seed == 1 else 4
    write_json(folder / f"manifest-{seed}.json", {"outputs": {"model": "0"}, "seed": seed, "exported_step": exported})
    paths = {name: str(folder / f"{name}-{seed}.parquet") for name in ("metrics", "timings")}
    return {
        "run": "go",
        "method": "a_star_po",
        "seed": seed,
        **paths,
        "manifest": str(folder / f"manifest-{seed}.json"),
    }


@pytest.fixture
def plan(tmp_path):
    answers = {name: {"policy": name, **write_answers(tmp_path, name, REWARDS[name])} for name in REWARDS}
    steps = []
    for seed in (0, 1):
        for step in (2, 3):
            path = tmp_path / f"step-{seed}-{step}.json"
            write_json(path, {"outputs": {"model": "0"}, "step": step, "reached": step <= LAST[seed]})
            name = f"go.seed-{seed}.step-{step}"
            steps.append({"policy": name, "run": "go", "seed": seed, "step": step, "manifest": str(path)})
    return {
        "policies": [policy("tiny"), policy("go.seed-0", 0, "go"), policy("go.seed-1", 1, "go")],
        "evaluations": [answers[name] for name in ("tiny", "go.seed-0", "go.seed-1")],
        "runs": [write_training(tmp_path, seed) for seed in (0, 1)],
        "expected": [],
        "kept_steps": steps,
        "evaluations_of_steps": [answers[one["policy"]] for one in steps],
    }


def test_scores_and_places_by_hand(plan):
    found = [row for row in records(kept_steps_table(plan)) if row["metric"] in ("avg@2", None)]
    shown = ("point", "step", "seed", "generated_tokens", "trained_tokens", "seconds", "value", "n_seeds")
    assert [tuple(row[name] for name in shown) for row in found] == [
        ("reference", 0, None, 0.0, 0.0, 0.0, 0.25, 0),
        ("kept", 2, None, 20.0, 11.0, 3.0, 0.5, 2),
        ("kept", 2, 0, 20.0, 10.0, 3.0, 0.75, 1),
        ("kept", 2, 1, 20.0, 12.0, 3.0, 0.25, 1),
        ("kept", 3, None, 30.0, 15.0, 6.0, 0.5, 1),
        ("kept", 3, 0, 30.0, 15.0, 6.0, 0.5, 1),
        ("not reached", 3, 1, None, None, None, None, 1),
        ("exported", None, None, 25.0, 13.0, 5.5, 0.75, 2),
        ("exported", 4, 0, 40.0, 20.0, 10.0, 1.0, 1),
        ("exported", 1, 1, 10.0, 6.0, 1.0, 0.5, 1),
    ]
    assert {(row["run"], row["method"]) for row in found} == {("go", "a_star_po")}
    by_point = {(row["point"], row["seed"]): row for row in found}
    assert by_point["kept", 0]["policy"] == "go.seed-0.step-3" and by_point["reference", None]["policy"] == "tiny"
    assert by_point["exported", None]["interval_over"] == "problems and seeds"


def test_the_shown_table_says_who_reached_a_step(plan):
    (shown,) = shown_steps(kept_steps_table(plan))
    assert [[cell.text for cell in row][:4] for row in shown.rows] == [
        ["tiny, step 0", "0", "0.0", "25.0"],
        ["after step 2", "11", "3.0", "50.0"],
        ["after step 3 (1 of 2 seeds reached it)", "15", "6.0", "50.0"],
        ["exported, of different steps", "13", "5.5", "75.0"],
    ]
    for kept in plan["kept_steps"]:
        if kept["step"] == 3:
            write_json(kept["manifest"], {"outputs": {"model": "0"}, "reached": False})
    (shown,) = shown_steps(kept_steps_table(plan))
    assert [row[0].text for row in shown.rows][2:] == ["step 3: not reached", "exported, of different steps"]


def test_a_manifest_that_does_not_say_whether_the_step_was_reached_is_refused(plan):
    write_json(plan["kept_steps"][0]["manifest"], {"outputs": {"model": "0"}})
    with pytest.raises(InputError, match=r"step-0-2\.json: key 'reached' is missing"):
        kept_steps_table(plan)


def test_a_plan_without_kept_steps_is_refused(plan):
    del plan["kept_steps"]
    with pytest.raises(InputError, match="no run keeps steps; set `keep: "):
        plan_with_steps(plan)


def figure(plan, **changes):
    return kept_steps.plot(kept_steps_table(plan), settings=KeptSteps(kind="kept_steps", **changes))


@pytest.mark.parametrize(
    ("x", "means", "ends"),
    [
        # The mean over seeds only where both have a point; exported policies at the mean of their places.
        ("step", [0.0, 2.0, 2.5], (4.0, 2.0)),
        ("trained_tokens", [0.0, 11.0, 13.0], (20.0, 12.0)),
        ("seconds", [0.0, 3.0, 5.5], (10.0, 3.0)),
    ],
)
def test_the_figure_has_a_line_for_the_mean_and_one_for_each_seed(plan, x, means, ends):
    (axis,) = figure(plan, x=x).axes
    (mean,) = [line for line in axis.lines if line.get_linewidth() == 1.5 and line.get_linestyle() == "-"]
    assert mean.get_xdata().tolist() == means and mean.get_ydata().tolist() == [25.0, 50.0, 75.0]
    seeds = [line for line in axis.lines if line.get_alpha() == 0.35]
    assert [line.get_xdata()[-1] for line in seeds] == list(ends)
    assert seeds[0].get_ydata().tolist() == [25.0, 75.0, 50.0, 100.0]
    points = [bars.lines[0] for bars in axis.containers]
    assert [line.get_markersize() for line in points] == [4, 4, 8]
    assert [line.get_xdata()[0] for line in points] == means


def test_a_metric_that_was_not_measured_is_refused(plan):
    with pytest.raises(InputError, match="have no 'greedy' of benchmark 'sums'; they have sums avg, sums maj"):
        figure(plan, metric="greedy")


def test_the_script_writes_the_table(tmp_path, plan, monkeypatch):
    import show_kept_steps

    write_text(tmp_path / "plan.json", json.dumps(plan))
    given = json.dumps({"plan_sha256": sha256(tmp_path / "plan.json")})
    paths = {name: tmp_path / f"steps.{name}" for name in ("csv", "markdown", "html", "parquet")}
    outputs = [part for name, path in paths.items() for part in (f"--out-{name}", str(path))]
    command = ["show_kept_steps", "--settings", given, "--plan", str(tmp_path / "plan.json"), *outputs]
    monkeypatch.setattr(sys, "argv", command)
    show_kept_steps.main()
    assert "go,a_star_po,1,go.seed-1.step-3,not reached,3,,,,,,,,,,,,1,\n" in paths["csv"].read_text()
    assert "| after step 2 | 11 | 3.0 | 50.0 [" in paths["markdown"].read_text()
    assert "Accuracy over the training" in paths["html"].read_text()
    assert records(read_frame(paths["parquet"], KEPT_STEPS)) == records(kept_steps_table(plan))


# What the workflow plans.

KEPT = changed(runs__a_dash_star_dash_po__keep={"steps": [10, 20]}, runs__a_dash_star_dash_po__seeds=[0, 1])
STEP = "a-star-po.seed-1.step-20"


def test_a_kept_step_is_a_policy_with_a_folder_of_its_own():
    config = load_config(KEPT)
    assert (run_of(STEP), seed_of(STEP), step_of(STEP)) == ("a-star-po", 1, 20)
    assert step_of("a-star-po.seed-1") is None and seed_of("a-star-po.seed-12") == 12
    assert policy_path(STEP) == "results/runs/a-star-po/seed-1/steps/20/manifest.json"
    assert model_path(STEP) == "results/runs/a-star-po/seed-1/steps/20/model"
    assert reference_of(config, STEP) == "tiny"
    assert benchmarks_of(config, STEP) == ["held-out", "one-more-term"]
    assert STEP not in policies(config)  # of the main tables
    wildcards = {"policy": STEP, "benchmark": "held-out", "protocol": "greedy"}
    assert find_stage("generate_answers").inputs(config, wildcards)["policy"] == policy_path(STEP)
    of_exported = {**wildcards, "policy": "a-star-po.seed-1"}
    assert settings(config, "generate_answers", **wildcards) == settings(config, "generate_answers", **of_exported)


def test_targets_checks_and_plan_have_every_kept_step():
    config = load_config(KEPT)
    files = {policy_path(f"a-star-po.seed-{seed}.step-{step}") for seed in (0, 1) for step in (10, 20)}
    models = {model_path(f"a-star-po.seed-{seed}.step-{step}") for seed in (0, 1) for step in (10, 20)}
    assert files | models <= set(train(config))
    assert "results/tables/kept_steps.csv" in tables(config)
    rows = {row["file"]: row for row in expected_results(config)}
    answers = f"results/evaluations/{STEP}/held-out.greedy"
    assert rows[f"{answers}.graded.parquet"]["inputs"]["generations"] == f"{answers}.generations.parquet"
    training = rows["results/runs/a-star-po/seed-1/manifest.json"]
    assert {**rows[policy_path(STEP)], "file": ""} == {**training, "file": ""}
    plan = json.loads(tables_plan(config))
    assert {one["manifest"] for one in plan["kept_steps"]} == files
    evaluated = {one["policy"] for one in plan["evaluations_of_steps"]}
    assert evaluated == {one["policy"] for one in plan["kept_steps"]}
    assert not evaluated & {one["policy"] for one in [*plan["policies"], *plan["evaluations"]]}
    needed = find_stage("show_kept_steps").inputs(config, {})["results"]
    wanted = ("results/evaluations/tiny/", "results/evaluations/a-star-po.seed-0/", f"results/evaluations/{STEP}/")
    assert all(any(path.startswith(start) for path in needed) for start in wanted)
    assert files < set(needed) and "results/runs/a-star-po/seed-1/timings.parquet" in needed


def test_without_kept_steps_nothing_is_planned_and_the_plan_is_the_text_that_it_was():
    config = load_config(DEFAULT)
    assert list(json.loads(tables_plan(config))) == ["evaluations", "expected", "policies", "runs"]
    assert not [path for path in [*train(config), *tables(config)] if "steps" in path]
    assert '"keep":null' in settings(config, "train_policy", run="a-star-po", seed="0")
    assert lists_of_steps(config) == [()] and lists_of_steps(load_config(KEPT)) == [(), (10, 20)]
