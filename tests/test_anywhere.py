"""The workflow runs from any folder, by any of its Snakefiles, and as a module of another workflow."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import test_reruns
import warm_snakemake
import yaml

from astarpo.config import with_typed

ROOT = test_reruns.ROOT
OTHER_WORKFLOW = """
configfile: "mine.yaml"

module posttraining:
    snakefile: "{source}/Snakefile"
    config: config["posttraining"]

use rule * from posttraining as posttraining_*
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow whose scripts are a stub."""
    folder = tmp_path_factory.mktemp("deployed") / "a copy"
    for name in ("rules", "workflow_scripts", "workflow", "config", "envs", "profiles", "report"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "workflow_scripts/launch.py").write_text(test_reruns.STUB)
    return folder


def snakemake(folder: Path, *options: Any, status: int = 0) -> str:
    done = warm_snakemake.snakemake(folder, "--cores", "2", *map(str, options))
    assert done.returncode == status, done.stdout
    return done.stdout


def jobs(listed: str) -> set[str]:
    """Rules that a dry run lists."""
    return set(re.findall(r"^(?:local)?rule (\w+):$", listed, re.MULTILINE))


def files_of(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_results_lie_in_the_working_directory(source, tmp_path):
    before = files_of(source)
    for name, options in (("one", ()), ("two", ("--directory", tmp_path / "two"))):
        (tmp_path / name).mkdir()
        where = tmp_path / name if name == "one" else tmp_path
        snakemake(where, "results/tables/contamination.csv", "-s", source / "Snakefile", *options)
        assert (tmp_path / name / "results/datasets/sums.parquet").exists()
    assert files_of(source) == before
    # A configuration of the working directory comes before the one beside the Snakefile.
    own = yaml.safe_load((source / "config/config.yaml").read_text())
    (tmp_path / "one/config").mkdir()
    (tmp_path / "one/config/config.yaml").write_text(yaml.safe_dump(own | {"runs": {"mine": own["runs"]["a-star-po"]}}))
    listed = snakemake(tmp_path / "one", "train", "-s", source / "Snakefile", "-n", "--quiet", "host")
    assert "run=mine, seed=0" in listed and "run=a-star-po" not in listed


def test_the_real_scripts_run_from_another_folder(tmp_path):
    snakemake(tmp_path, "results/datasets/sums-validation.parquet", "-s", ROOT / "Snakefile")
    assert (tmp_path / "results/datasets/sums-validation.card.json").exists()


def test_the_snakefile_of_the_standard_layout_plans_all_jobs(source, tmp_path):
    standard = snakemake(tmp_path, "-s", source / "workflow/Snakefile", "-n", "--quiet", "host")
    usual = snakemake(tmp_path, "-s", source / "Snakefile", "-n", "--quiet", "host")
    assert jobs(standard) - {"everything"} == jobs(usual) - {"all"} and "train_policy" in jobs(usual)


def test_another_workflow_uses_it_as_a_module(source, tmp_path):
    own = yaml.safe_load((source / "config/config.yaml").read_text())
    own["runs"]["a-star-po"]["seeds"] = [5]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"posttraining": own}))
    (tmp_path / "Snakefile").write_text(OTHER_WORKFLOW.format(source=source))
    target = "results/tables/summary.csv"
    snakemake(tmp_path, target)
    assert (tmp_path / "results/runs/a-star-po/seed-5/manifest.json").exists()
    assert (tmp_path / "results/tables/plan.json").exists()
    assert "Nothing to be done" in snakemake(tmp_path, target, "-n")
    # What cannot run is refused at the start here, too.
    own["runs"]["a-star-po"] |= {"engine": "deepspeed", "steps": 100}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"posttraining": own}))
    assert "deepspeed cannot be imported here" in snakemake(tmp_path, target, status=1)


def test_config_alone_changes_the_default(source, tmp_path):
    changes = [
        "runs={a-star-po: {beta2: 0.002, steps: 50, seeds: [7], compile_model: false}}",
        "machine={micro_batch: 4}",
    ]
    listed = snakemake(
        tmp_path, "report", "-s", source / "Snakefile", "-n", "-p", "--quiet", "host", "--config", *changes
    )
    (training,) = re.findall(r"train_policy --settings '(.*?)'", listed)
    assert '"beta2":0.002' in training and '"steps":50' in training and '"prompts_per_batch":128' in training
    assert "seed=7" in listed and "seed=0" not in listed and '"micro_batch":4' in listed
    (report,) = [line for line in listed.splitlines() if "--report results/report.zip" in line]
    # The nested Snakemake is given what this one was.
    assert f"--snakefile '{source}/Snakefile'" in report and "machine={" in report and '"0.002"' in report


@pytest.mark.parametrize(
    ("config", "given", "typed"),
    [
        ({"a": {"b": "0.5", "c": "0.5"}}, {"a": {"b": "0.5"}}, {"a": {"b": 0.5, "c": "0.5"}}),
        ({"a": {"b": ["1", "x"]}}, {"a": {"b": ["1", "x"]}}, {"a": {"b": [1, "x"]}}),
        (
            {"a": {"b": "true", "c": "null", "d": ""}},
            {"a": {"b": "true", "c": "null", "d": ""}},
            {"a": {"b": True, "c": None, "d": ""}},
        ),
        ({"a": "5"}, {}, {"a": "5"}),
        ({"a": "5"}, None, {"a": "5"}),
    ],
)
def test_texts_given_by_config_are_read_as_yaml(config, given, typed):
    assert with_typed(config, given) == typed
