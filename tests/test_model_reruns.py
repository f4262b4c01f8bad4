"""Exact reruns for model folders: a local model counts by its content, and a deleted model/ is made again."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import model_case
import pytest
from test_reruns import FIGURES, TABLES, config, evaluation, snakemake, would_run, write_config

from astarpo.config import load_config
from astarpo.config.targets import all_results

ROOT = Path(__file__).resolve().parent.parent
STUB = (ROOT / "tests/test_reruns.py").read_text(encoding="utf-8").split('STUB = """')[1]
STUB = STUB.split('"""')[0]
POLICIES = ("tiny", "a-star-po.seed-0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workflow of one run whose reference is a folder beside the project."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    folder.mkdir()
    for name in ("rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "workflow_scripts/launch.py").write_text(STUB)
    made = model_case.tokenizer(template=model_case.CHATML)
    model_case.folder(folder / "models/own", model_case.llama(len(made), 128), made)
    wanted = config(folder)
    wanted["runs"]["a-star-po"]["seeds"] = [0]
    del wanted["references"]["tiny"]["warm_start"]
    wanted["references"]["tiny"]["source"] = {"kind": "local", "path": "models/own"}
    for benchmark in wanted["benchmarks"].values():
        del benchmark["protocols"]["greedy"]
    write_config(folder, wanted)
    snakemake(folder, "--cores", "2")
    assert not would_run(folder)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workflow, to edit."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


BELOW_TRAINING = evaluation("a-star-po.seed-0") | TABLES | FIGURES
BELOW_REFERENCE = {
    "prepare_reference tiny",
    *(f"sample_reference tiny sums s{s}-p0" for s in (0, 1)),
    *(f"grade_samples tiny sums s{s}-p0" for s in (0, 1)),
    "select_prompts solved",
    "estimate_values v-star",
    "train_policy a-star-po 0",
    "forecast_noise v-star",
    "plot_values values",
    "plot_forecast forecast",
    *evaluation(*POLICIES),
    *TABLES,
    *FIGURES,
}


def replace_weights(folder: Path) -> None:
    """Other weights of the same size and time, as `rsync --times` brings them."""
    path = folder / "models/own/model.safetensors"
    state, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def touch(folder: Path) -> None:
    for path in (folder / "models/own").iterdir():
        path.touch()


def edit_template(folder: Path) -> None:
    path = folder / "models/own/chat_template.jinja"
    path.write_text(path.read_text() + " ")


def delete_reference(folder: Path) -> None:
    shutil.rmtree(folder / "results/references/tiny/model")


def delete_trained(folder: Path) -> None:
    shutil.rmtree(folder / "results/runs/a-star-po/seed-0/model")


def ask_for_more(folder: Path, longest: int = 90) -> None:
    value = config(folder)
    value["benchmarks"]["held-out"]["protocols"]["sampled"]["max_new_tokens"] = longest
    write_config(folder, value)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(touch, set(), id="a touch of the local model"),
        pytest.param(replace_weights, BELOW_REFERENCE, id="other weights of the same size and time"),
        pytest.param(edit_template, BELOW_REFERENCE, id="another chat template"),
        pytest.param(delete_reference, BELOW_REFERENCE, id="the reference's model is deleted"),
        pytest.param(delete_trained, {"train_policy a-star-po 0", *BELOW_TRAINING}, id="a trained model is deleted"),
        pytest.param(
            ask_for_more,
            {*evaluation(*POLICIES, benchmarks=("held-out",)), *TABLES, *FIGURES},
            id="longer answers prepare no model again",
        ),
    ],
)
def test_an_edit_reruns_exactly_what_depends_on_it(project, edit, expected):
    edit(project)
    assert would_run(project, "reference") == Counter(dict.fromkeys(expected, 1))


def test_a_deleted_model_is_made_again_for_whatever_needs_it(project):
    delete_reference(project)
    ask_for_more(project)
    assert "prepare_reference tiny" in would_run(project)


def test_everything_includes_the_models_of_references_and_runs(project):
    models = [path for path in all_results(load_config(config(project))) if path.endswith("/model")]
    assert models == ["results/references/tiny/model", "results/runs/a-star-po/seed-0/model"]


def test_what_a_finished_reference_cannot_read_is_refused_before_any_job_starts(project):
    ask_for_more(project, 97)  # 32 tokens of prompt and 128 positions
    said = r"benchmarks\.held-out\.protocols\.sampled: .* make 129, but models/own has 128 positions"
    before = {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*.parquet")}
    with pytest.raises(AssertionError, match=said):
        snakemake(project, "--cores", "1")
    after = {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*.parquet")}
    assert after == before
