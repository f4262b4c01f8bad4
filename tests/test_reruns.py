"""Exact reruns on the real Snakefile: what an edit runs again, and that nothing else does.

The scripts do not run: a stub in place of launch.py writes their outputs. Rules, configuration, plan and the
fingerprints of code are the real ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import warm_snakemake
import yaml

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["data", "train", "evaluate", "figures"]
STUB = """
import hashlib, os, sys
from pathlib import Path

arguments = sys.argv[1:]
for option, value in zip(arguments, arguments[1:]):
    if option.startswith("--out"):
        path = Path(value)
        if option == "--out-model":
            path.mkdir(parents=True, exist_ok=True)
            path = path / "config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hashlib.sha256(repr(arguments).encode()).hexdigest())
"""


def snakemake(folder: Path, *options: str) -> str:
    done = warm_snakemake.snakemake(folder, *TARGETS, *options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def would_run(folder: Path, *more: str) -> Counter[str]:
    """Rules that a dry run lists, with the wildcards that tell their jobs apart; ``more`` are further targets."""
    jobs: Counter[str] = Counter()
    listed = snakemake(folder, *more, "-n", "--cores", "1", "--quiet", "host")
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", listed):
        match = re.match(r"(?:local)?rule (\w+):", block)
        if match and match.group(1) not in (*TARGETS, *more):
            wildcards = re.search(r"\n    wildcards: (.*)", block)
            named = re.sub(r"\w+=", "", wildcards.group(1)).replace(", ", " ") if wildcards else ""
            jobs[f"{match.group(1)} {named}".strip()] += 1
    return jobs


def config(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config/config.yaml").read_text())


def write_config(folder: Path, value: dict[str, Any]) -> None:
    (folder / "config/config.yaml").write_text(yaml.safe_dump(value, sort_keys=False))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workflow: two runs (two seeds and one), two estimates of V*, two benchmarks."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    folder.mkdir()
    for name in ("rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "workflow_scripts/launch.py").write_text(STUB)
    wanted = config(folder)
    wanted["values"]["first-four"] = {**wanted["values"]["v-star"], "n": 4, "beta1": 0.25}
    wanted["runs"]["a-star-po"]["seeds"] = [0, 1]
    wanted["runs"]["other"] = {**wanted["runs"]["a-star-po"], "seeds": [0], "value": "first-four"}
    other = wanted["runs"]["other"]
    without = {key: other[key] for key in other if key not in ("value", "value_scale")}
    wanted["runs"]["without"] = {**without, "method": "reinforce", "baseline": "zero"}
    for benchmark in wanted["benchmarks"].values():
        del benchmark["protocols"]["greedy"]
    (folder / "judge.py").write_text(
        "from same import same\ndef judge(response, gold):\n    return same(response, gold)\n"
    )
    (folder / "same.py").write_text("def same(one, other):\n    return one == other\n")
    wanted["benchmarks"]["one-more-term"]["verifier"] = "judge.py:judge"
    write_config(folder, wanted)
    snakemake(folder, "--cores", "2")
    assert not would_run(folder)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workflow, to edit."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


# What follows from a set of policies being new.
FIGURES = {"plot_training_curves training-curves", "plot_accuracy accuracy", "plot_time time"}
TABLES = {"summarize", "show_examples"}


def evaluation(*policies: str, benchmarks: tuple[str, ...] = ("held-out", "one-more-term")) -> set[str]:
    return {
        f"{rule} {policy} {benchmark} sampled"
        for rule in ("generate_answers", "grade_answers")
        for policy in policies
        for benchmark in benchmarks
    }


def training(*policies: str) -> set[str]:
    return {f"train_policy {policy.replace('.seed-', ' ')}" for policy in policies}


MAIN = ("a-star-po.seed-0", "a-star-po.seed-1")
OTHERS = ("other.seed-0", "without.seed-0")
TRAINED = (*MAIN, *OTHERS)
EVERYONE = ("tiny", *TRAINED)
V_STAR = {"estimate_values v-star", "forecast_noise v-star", "plot_values values", "plot_forecast forecast"}
FIRST_FOUR = {"estimate_values first-four"}  # its forecast is not among these targets
BELOW_VALUES = {"select_prompts solved", *V_STAR, *FIRST_FOUR}
GRADED = {f"grade_samples tiny sums s{s}-p0" for s in (0, 1)}


def edit_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        value = config(folder)
        change(value)
        write_config(folder, value)

    return edit


def put(path: str, value: Any) -> Callable[[Path], None]:
    """Set a value of the configuration at a path of keys."""

    def change(whole: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        place = whole
        for part in parents:
            place = place[part]
        place[last] = value

    return edit_config(change)


def append(*paths: str) -> Callable[[Path], None]:
    """Add a comment line to files."""

    def edit(folder: Path) -> None:
        for path in paths:
            with (folder / path).open("a") as stream:
                stream.write("\n# an edit\n")

    return edit


def add_run(name: str, reference: dict[str, Any] | None = None, **settings: Any) -> Callable[[Path], None]:
    """A new run, like the first but for some settings; on a new reference where one is given."""

    def change(whole: dict[str, Any]) -> None:
        run = {**whole["runs"]["a-star-po"], "seeds": [0], **settings}
        if reference is not None:
            whole["references"]["second"] = {**whole["references"]["tiny"], **reference}
            for registry in ("values", "selections"):
                entry = whole[registry]["v-star" if registry == "values" else "solved"]
                whole[registry]["second"] = {**entry, "reference": "second"}
            run |= {"reference": "second", "value": "second", "selection": "second"}
        whole["runs"][name] = run

    return edit_config(change)


def add_a_method(folder: Path) -> None:
    """The module of a method that no run uses, and its row."""
    methods = folder / "workflow_scripts/astarpo/objectives"
    shutil.copy(methods / "grpo.py", methods / "mine.py")
    table = methods / "__init__.py"
    row = '        "grpo": "astarpo.objectives.grpo",\n'
    assert row in table.read_text()
    table.write_text(table.read_text().replace(row, row + row.replace("grpo", "mine")))


def write_texts_for_people(folder: Path) -> None:
    """Comments, docstrings and blank lines in every module."""
    for path in folder.glob("workflow_scripts/**/*.py"):
        if path.name != "launch.py":
            text = re.sub(r'\A"""', '"""Edited. ', path.read_text())
            path.write_text(text.replace("\n\n\ndef ", "\n\n\n\n# A comment.\ndef ") + "\n\n# An end.\n")


def rewrite(*paths: str) -> Callable[[Path], None]:
    """Change what files of code say."""

    def edit(folder: Path) -> None:
        for path in paths:
            with (folder / path).open("a") as stream:
                stream.write("\nEDITED = True\n")

    return edit


def touch_everything(folder: Path) -> None:
    for path in [
        *folder.glob("workflow_scripts/**/*.py"),
        *folder.glob("rules/*"),
        folder / "Snakefile",
    ]:
        path.touch()


def reverse_keys(folder: Path) -> None:
    def backwards(value: Any) -> Any:
        return {k: backwards(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    write_config(folder, backwards(config(folder)))


def swap_betas(value: dict[str, Any]) -> None:
    run, estimate = value["runs"]["a-star-po"], value["values"]["v-star"]
    run["beta2"], estimate["beta1"] = estimate["beta1"], run["beta2"]


def raise_n_to_sixteen(value: dict[str, Any]) -> None:
    value["datasets"]["sums"]["sampling"]["max_samples"] = 16
    value["values"]["v-star"]["n"] = 16


NEW_BLOCKS = {f"{rule} tiny sums s{s}-p0" for rule in ("sample_reference", "grade_samples") for s in (2, 3)}
AFTER_MAIN = training(*MAIN) | evaluation(*MAIN) | TABLES | FIGURES
SUMMARY_ONLY = {*TABLES, *FIGURES}


def add_a_reference(folder: Path) -> None:
    """A reference that no run uses."""
    edit_config(lambda c: c["references"].update(spare={**c["references"]["tiny"], "precision": "bfloat16"}))(folder)


NO_CHANGE = [
    append("rules/common.smk", "judge.py", "same.py"),
    reverse_keys,
    put("datasets/sums/sampling/max_samples", 16),
    put("machine/micro_batch", 8),
    add_a_method,
    add_a_reference,
    rewrite("workflow_scripts/astarpo/objectives/grpo.py"),  # no run has this method
    write_texts_for_people,
    append("config/config.yaml"),
    touch_everything,
]


def test_edits_that_change_no_result_rerun_nothing(project):
    """All of them at once, as a dry run is slow; where it lists jobs, their reasons say which edit it was."""
    for edit in NO_CHANGE:
        edit(project)
    assert not would_run(project), snakemake(project, "-n", "--cores", "1", "--quiet", "host")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(put("runs/a-star-po/beta2", 2e-3), AFTER_MAIN, id="beta2 of one run"),
        pytest.param(
            put("values/v-star/beta1", 1.0),
            {*V_STAR, *AFTER_MAIN},
            id="beta1: runs on other values or on none stay",
        ),
        pytest.param(
            put("values/v-star/n", 6),
            {*V_STAR, *AFTER_MAIN},
            id="N 8 to 6",
        ),
        pytest.param(
            put("values/v-star/n", 4),
            {*V_STAR, *AFTER_MAIN},
            id="N 8 to 4",
        ),
        pytest.param(
            edit_config(raise_n_to_sixteen),
            {*NEW_BLOCKS, *V_STAR, *AFTER_MAIN},
            id="N to 16 draws the new blocks only",
        ),
        pytest.param(
            edit_config(lambda c: c["benchmarks"].update(again={**c["benchmarks"]["one-more-term"]})),
            {
                "prepare_benchmark again",
                *evaluation(*EVERYONE, benchmarks=("again",)),
                *SUMMARY_ONLY,
                "check_contamination sums again",
                "check_contamination sums-warm-start again",
                "show_contamination",
            },
            id="add a benchmark",
        ),
        pytest.param(
            edit_config(lambda c: c["benchmarks"].pop("held-out")),
            {*SUMMARY_ONLY, "show_contamination"},
            id="remove a benchmark",
        ),
        pytest.param(
            put("benchmarks/held-out/protocols/sampled/k", 4),
            {*evaluation(*EVERYONE, benchmarks=("held-out",)), *SUMMARY_ONLY},
            id="k of one benchmark",
        ),
        pytest.param(
            put("runs/other/seeds", [0, 1]),
            {*training("other.seed-1"), *evaluation("other.seed-1"), *SUMMARY_ONLY},
            id="add a seed",
        ),
        pytest.param(put("figures/accuracy/dpi", 99), {"plot_accuracy accuracy"}, id="dpi of a figure"),
        pytest.param(
            edit_config(swap_betas),
            {*V_STAR, *AFTER_MAIN},
            id="beta1 and beta2 swapped",
        ),
        pytest.param(
            rewrite("workflow_scripts/astarpo/objectives/a_star_po.py"),
            {*training(*MAIN, "other.seed-0"), *evaluation(*MAIN, "other.seed-0"), *TABLES, *FIGURES},
            id="library: objective of the runs with this method",
        ),
        pytest.param(
            rewrite("workflow_scripts/astarpo/stage_one/values.py"),
            {
                *V_STAR,
                *FIRST_FOUR,
                *training(*MAIN, "other.seed-0"),
                *evaluation(*MAIN, "other.seed-0"),
                *TABLES,
                *FIGURES,
            },
            id="library: values",
        ),
        pytest.param(
            rewrite("workflow_scripts/astarpo/rewards/verifiers.py"),
            {
                *GRADED,
                *BELOW_VALUES,
                *training(*TRAINED),
                *evaluation(*TRAINED),
                *(f"grade_answers tiny {b} sampled" for b in ("held-out", "one-more-term")),
                *TABLES,
                *FIGURES,
            },
            id="library: verifiers grade anew and sample nothing of the reference",
        ),
        pytest.param(
            rewrite("workflow_scripts/astarpo/objectives/reinforce.py"),
            {*training("without.seed-0"), *evaluation("without.seed-0"), *TABLES, *FIGURES},
            id="library: another method's objective",
        ),
        pytest.param(
            add_run("spread", lora={"rank": 4}, engine="deepspeed"),
            {*training("spread.seed-0"), *evaluation("spread.seed-0"), *SUMMARY_ONLY},
            id="a new run with adapters and another engine",
        ),
        pytest.param(
            add_run("fast", {"sampling_engine": "vllm"}),
            {
                "prepare_reference second",
                *(f"{rule} second sums s{s}-p0" for rule in ("sample_reference", "grade_samples") for s in (0, 1)),
                "select_prompts second",
                "estimate_values second",
                *training("fast.seed-0"),
                *evaluation("second", "fast.seed-0"),
                *SUMMARY_ONLY,
            },
            id="a new reference with another sampling engine",
        ),
        pytest.param(
            rewrite("judge.py"),
            {*(f"grade_answers {policy} one-more-term sampled" for policy in EVERYONE), *TABLES, *SUMMARY_ONLY},
            id="a verifier's file",
        ),
        pytest.param(
            rewrite("same.py"),
            {*(f"grade_answers {policy} one-more-term sampled" for policy in EVERYONE), *TABLES, *SUMMARY_ONLY},
            id="a file that a verifier imports",
        ),
        pytest.param(
            append("workflow_scripts/astarpo/tables/templates/page.html.j2"),
            {*TABLES, *FIGURES, "show_contamination", "forecast_noise v-star", "plot_forecast forecast"},
            id="template of the pages",
        ),
        pytest.param(rewrite("workflow_scripts/astarpo/figures/time.py"), {"plot_time time"}, id="module of a figure"),
        pytest.param(
            rewrite("workflow_scripts/train_policy.py"),
            {*training(*TRAINED), *evaluation(*TRAINED), *TABLES, *FIGURES},
            id="script of training",
        ),
    ],
)
def test_an_edit_reruns_exactly_what_depends_on_it(project, edit, expected):
    edit(project)
    assert would_run(project) == Counter(dict.fromkeys(expected, 1))


def test_the_plan_says_in_words_what_would_run_and_why(project):
    put("runs/a-star-po/beta2", 2e-3)(project)
    put("datasets/sums/sampling/max_samples", 16)(project)
    put("values/first-four/n", 16)(project)
    rewrite("workflow_scripts/astarpo/objectives/reinforce.py")(project)
    command = [sys.executable, "workflow_scripts/plan.py", *TARGETS]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    *lines, total = done.stdout.splitlines()
    assert total == "30 jobs would run."
    for line in (
        "train a-star-po, 2 seeds: beta2 0.001 -> 0.002",
        "train without, seed 0: code of objectives/reinforce.py changed",
        "train other, seed 0: after estimate_values",
        "sample 2 blocks of tiny on sums: new",
        "grade_samples, 2 jobs: new",
        "generate_answers, 8 jobs: after train_policy",
    ):
        assert line in lines, done.stdout
    (of_values,) = [line for line in lines if line.startswith("estimate_values")]
    assert of_values.startswith("estimate_values first-four: ") and "after grade_samples" in of_values


def test_a_dry_run_after_an_edit_is_a_screen_or_two(project):
    put("runs/a-star-po/beta2", 2e-3)(project)
    listed = snakemake(project, "-n")
    assert "train_policy" in listed and len(listed.encode()) < 6000


def test_an_edit_while_jobs_run_is_noticed(project):
    launch = project / "workflow_scripts/launch.py"
    edit = 'objective = Path("workflow_scripts/astarpo/objectives/a_star_po.py")\n'
    edit += 'if "train_policy" in arguments: objective.write_text(objective.read_text() + "EDITED = True\\n")\n'
    launch.write_text(launch.read_text() + edit)
    put("runs/other/beta2", 2e-3)(project)
    snakemake(project, "--cores", "1")
    assert {job for job in would_run(project) if "train" in job} >= training(*MAIN, "other.seed-0")


def test_finished_results_are_accepted_after_an_edit_that_changes_no_number(project):
    rewrite("workflow_scripts/train_policy.py")(project)
    assert would_run(project)
    snakemake(project, "--touch", "--cores", "1")
    assert not would_run(project)
