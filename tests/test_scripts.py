"""The stages as commands: bad input is one message, a killed training goes on, the launcher keeps the log."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import training_case as case

from astarpo.common.code import read_code
from astarpo.common.columns import DATASET, ROLLOUTS, SELECTIONS, VALUES
from astarpo.common.files import read_json, read_table, sha256, write_table
from astarpo.common.provenance import manifest

SCRIPTS = Path(__file__).resolve().parent.parent / "workflow_scripts"


def run(script: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [("{", "--settings is not a JSON object"), ("[1]", "--settings is not a JSON object")],
)
def test_settings_that_are_no_json_object(settings, expected, tmp_path):
    done = run("prepare_dataset", "--settings", settings, "--out", "x", "--out-card", "y", cwd=tmp_path)
    assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr


def test_a_bad_data_file_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"problem": "1+1"}\n')
    settings = {
        "source": {"kind": "local", "path": "d.jsonl"},
        "hash_range": [0, 1],
        "max_prompts": None,
        "columns": {
            "problem": "problem",
            "gold": "gold",
            "worked_solution": None,
            "gold_after": None,
            "gold_boxed": False,
            "worked_solution_remove": None,
        },
        "drop_duplicates": True,
        "template": "{problem}",
        "verifier": "integer",
    }
    done = run(
        "prepare_dataset",
        "--settings",
        json.dumps(settings),
        "--source",
        "d.jsonl",
        "--out",
        "out.parquet",
        "--out-card",
        "card.json",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr == ("error: d.jsonl, row 1: there is no column 'gold' (columns.gold); it has problem\n")
    assert [path.name for path in tmp_path.iterdir()] == ["d.jsonl"]


@pytest.fixture
def job(tmp_path, tiny_policy, tiny_folder) -> list[str]:
    """Arguments of train_policy for a run of 60 steps."""
    reference = tmp_path / "references/tiny"
    reference.mkdir(parents=True)
    (reference / "model").symlink_to(tiny_folder)
    made = manifest({"settings": "{}", "inputs": {}, "code": ""}, {"model": tiny_folder}, 0.0)
    (reference / "manifest.json").write_text(json.dumps(made))
    rows = [
        {
            "prompt_id": prompt.prompt_id,
            "problem": prompt.prompt_id,
            "prompt": f"{index}+1\n",
            "gold": "1",
            "verifier": prompt.verifier,
            "worked_solution": None,
            "source_index": index,
        }
        for index, prompt in enumerate(case.prompts(tiny_policy))
    ]
    ids = [row["prompt_id"] for row in rows]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    value = {"n": 8, "n_correct": 4, "pass_rate": 0.5, "v_star": 0.7, "v_star_se": 0.1}
    value |= {"surprisal_sum": 9.0, "surprisal_of_correct": 3.0}
    write_table(tmp_path / "v.parquet", [{"prompt_id": i, **value} for i in ids], VALUES)
    kept = [{"prompt_id": i, "n": 8, "n_correct": 4, "keep": True} for i in ids]
    write_table(tmp_path / "s.parquet", kept, SELECTIONS)
    settings = {
        "method": "a_star_po",
        "hyperparameters": {"beta2": 1e-3},
        "steps": 60,
        "max_generated_tokens": None,
        "prompts_per_batch": 4,
        "responses_per_prompt": 1,
        "updates_per_rollout": 1,
        "lr": 1e-3,
        "lr_schedule": "linear",
        "lr_warmup_steps": 1,
        "adam_betas": [0.9, 0.99],
        "adam_eps": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "entropy_coefficient": 0.0,
        "log_prob_chunk_tokens": 512,
        "max_sampler_gap": 1e-3,
        "sampling_engine": "transformers",
        "validate_every": 10,
        "lora": None,
        "engine": "torch",
        "precision": "float32",
        "torch_threads": 1,
        "compile_model": False,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 16},
        "prompting": {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 16},
        "grading": {
            "truncated": "as_judged",
            "max_null_rate": 0.02,
            "min_nulls": 20,
            "timeout_s": 5.0,
            "wall_timeout_s": None,
        },
    }
    machine = {
        "device": "cpu",
        "devices": 1,
        "nodes": 1,
        "micro_batch": 2,
        "sampling_batch": 8,
        "checkpoint_every": 3,
        "grading_workers": 1,
        "max_minutes": None,
        "trackers": [],
        "micro_batch_tokens": None,
        "activation_checkpointing": False,
        "zero_stage": 2,
        "offload_optimizer": False,
        "offload_parameters": False,
        "sampler_tensor_parallel": 1,
        "sampler_memory_share": 0.3,
        "sampler_sleep_level": 0,
    }
    return [
        "--settings",
        json.dumps(settings, sort_keys=True),
        "--machine",
        json.dumps(machine),
        "--seed",
        "0",
        "--reference",
        str(reference / "manifest.json"),
        "--dataset",
        "d.parquet",
        "--validation",
        "d.parquet",
        "--selection",
        "s.parquet",
        "--values",
        "v.parquet",
    ]


def outputs(folder: str) -> list[str]:
    return [
        "--scratch",
        f"{folder}/scratch",
        "--out-model",
        f"{folder}/model",
        "--out-metrics",
        f"{folder}/metrics.parquet",
        "--out-timings",
        f"{folder}/timings.parquet",
        "--out-rollouts",
        f"{folder}/rollouts.parquet",
        "--out-manifest",
        f"{folder}/manifest.json",
    ]


def start(job: list[str], folder: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", str(SCRIPTS / "train_policy.py"), *job, *outputs(folder)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def checkpoints(scratch: Path) -> frozenset[str]:
    return frozenset(path.name for path in scratch.glob("*/world-1/step-*") if path.suffix != ".partial")


def wait_for_checkpoint(scratch: Path, process: subprocess.Popen[str], before: frozenset[str] = frozenset()) -> None:
    """Wait for a checkpoint that was not there before."""
    for _ in range(12000):
        if checkpoints(scratch) - before:
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError("no checkpoint within ten minutes")


def test_a_training_that_was_stopped_thrice_ends_as_it_would_have(job, tmp_path):
    whole = run("train_policy", *job, *outputs("whole"), cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    rows = read_table(tmp_path / "whole/metrics.parquet").to_pylist()[1:]
    assert all(row["grad_norm"] > case.LEAST_GRADIENT for row in rows)
    assert len({row["reward"] for row in rows}) > 2
    for number, status in ((signal.SIGTERM, 75), (signal.SIGKILL, -9), (signal.SIGINT, 75)):
        before = checkpoints(tmp_path / "cut/scratch")
        process = start(job, "cut", tmp_path)
        wait_for_checkpoint(tmp_path / "cut/scratch", process, before)
        process.send_signal(number)
        output = process.communicate()[0]
        assert process.returncode == status, output
        assert ("resuming from the checkpoint of step" in output) == bool(before)
        assert not (tmp_path / "cut/manifest.json").exists()
    again = run("train_policy", *job, *outputs("cut"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "resuming from the checkpoint of step" in again.stdout
    for name in ("model", "metrics.parquet", "rollouts.parquet"):
        assert sha256(tmp_path / "whole" / name) == sha256(tmp_path / "cut" / name)
    assert read_table(tmp_path / "cut/timings.parquet").num_rows == 61
    assert read_table(tmp_path / "cut/rollouts.parquet", ROLLOUTS).num_rows > 8
    described = read_json(tmp_path / "cut/manifest.json")
    assert described["outputs"]["model"] == sha256(tmp_path / "cut/model")
    assert described["settings"] == job[1] and described["seed"] == 0
    exported = {path.name for path in (tmp_path / "cut/model").iterdir()}
    assert {
        "README.md",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    } <= exported
    assert set(described["inputs"]) == {"dataset", "reference", "selection", "validation", "values"}


def test_other_settings_do_not_find_the_checkpoints(job, tmp_path):
    process = start(job, "cut", tmp_path)
    wait_for_checkpoint(tmp_path / "cut/scratch", process)
    process.kill()
    process.wait()
    changed = json.loads(job[1])
    changed["steps"] = 2
    changed["hyperparameters"]["beta2"] = 0.5
    done = run("train_policy", job[0], json.dumps(changed), *job[2:], *outputs("cut"), cwd=tmp_path)
    assert done.returncode == 0 and "resuming" not in done.stdout
    assert len(list((tmp_path / "cut/scratch").glob("*/made_from.json"))) == 2


def test_an_edited_objective_trains_anew_and_a_comment_does_not(job, tmp_path):
    scripts = Path(shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__")))
    objective = scripts / "astarpo/objectives/a_star_po.py"
    settings = json.dumps({**json.loads(job[1]), "steps": 2})
    command = [sys.executable, str(scripts / "train_policy.py"), job[0], settings, *job[2:], *outputs("out")]

    def train() -> tuple[str, str]:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout, sha256(tmp_path / "out/model/model.safetensors")

    first, weights = train()
    objective.write_text(objective.read_text() + "\n# A comment.\n")
    again, same = train()
    assert "already finished" in again and same == weights
    edited = objective.read_text().replace("rollout.reward_B - rollout.value_scale", "1.0 - rollout.value_scale")
    assert edited != objective.read_text()
    objective.write_text(edited)
    anew, other = train()
    assert "starting over: " in anew and "was made with other code (astarpo/objectives/a_star_po.py)" in anew
    assert "resuming" not in anew and "starting over" not in first + again and other != weights


def test_a_second_writer_is_refused(job, tmp_path):
    process = start(job, "cut", tmp_path)
    wait_for_checkpoint(tmp_path / "cut/scratch", process)
    process.send_signal(signal.SIGSTOP)
    second = run("train_policy", *job, *outputs("cut"), cwd=tmp_path)
    process.kill()
    process.wait()
    assert second.returncode == 1 and "the training in cut/scratch is already running" in second.stderr


def test_a_reference_that_was_tampered_with_is_refused(job, tmp_path):
    path = tmp_path / "references/tiny/manifest.json"
    path.write_text(path.read_text().replace('"model": "', '"model": "0'))
    done = run("train_policy", *job, *outputs("cut"), cwd=tmp_path)
    assert done.returncode == 1 and "references/tiny/manifest.json describes; delete the manifest" in done.stderr


def test_values_of_another_data_set_are_refused(job, tmp_path):
    write_table(tmp_path / "v.parquet", [], VALUES)
    done = run("train_policy", *job, *outputs("cut"), cwd=tmp_path)
    assert done.returncode == 1 and "v.parquet: no row for prompt p0" in done.stderr


def launched(tmp_path: Path, script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    (tmp_path / "stage.py").write_text(script)
    command = [sys.executable, str(SCRIPTS / "launch.py"), "--log", "logs/a/stage.log", "stage.py"]
    return subprocess.run([*command, *arguments], cwd=tmp_path, text=True, **options)


def test_the_launcher_sends_everything_to_the_log_and_passes_the_status_on(tmp_path):
    script = "import sys\nprint('out', sys.argv[1:])\nprint('err', file=sys.stderr)\nsys.exit(3)\n"
    done = launched(tmp_path, script, "--a b", "c", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert (tmp_path / "logs/a/stage.log").read_text() == "out ['--a b', 'c']\nerr\n"


def test_a_job_whose_code_was_edited_meanwhile_stops_before_it_writes(job, tmp_path):
    fingerprint = read_code("train_policy", ("astarpo.objectives.a_star_po",)).fingerprint
    edited = f"{'0' * 16}{fingerprint[16:]}"
    for code, status in ((edited, 1), (fingerprint, 0)):
        command = [sys.executable, str(SCRIPTS / "launch.py"), "--log", "log", "--code", code]
        done = subprocess.run([*command, "train_policy", *job, *outputs("out")], cwd=tmp_path, check=False)
        assert done.returncode == status, (tmp_path / "log").read_text()
        assert (tmp_path / "out/manifest.json").exists() is (status == 0)
        if status == 1:
            assert (tmp_path / "log").read_text() == (
                "error: the code of train_policy was edited after Snakemake planned this job, so nothing was started; "
                "run `snakemake` again\n"
            )
    # The script, too, looks at what it has read.
    late = {**os.environ, "ASTARPO_CODE": edited}
    command = [sys.executable, str(SCRIPTS / "train_policy.py"), *job, *outputs("late")]
    done = subprocess.run(command, cwd=tmp_path, env=late, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "was edited after" in done.stderr and not (tmp_path / "late/manifest.json").exists()


PROGRESS = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from astarpo.common.progress import Progress
with Progress("train", 3, "steps") as progress:
    for _ in range(3):
        progress.advance(reward=0.5)
"""


def test_progress_is_plain_lines_in_the_log_and_a_bar_on_the_terminal(tmp_path):
    leader, follower = pty.openpty()
    done = launched(tmp_path, PROGRESS, stderr=follower)
    shown = os.read(leader, 65536).decode()
    os.close(follower)
    assert done.returncode == 0 and "train:" in shown and "0/3 [" in shown and "\r" in shown
    log = (tmp_path / "logs/a/stage.log").read_text()
    assert "train: 3/3 steps" in log and "reward 0.5" in log and "\r" not in log


def test_progress_without_a_terminal_is_plain_lines_only(tmp_path):
    done = launched(tmp_path, PROGRESS, capture_output=True)
    assert done.stderr == ""
    lines = (tmp_path / "logs/a/stage.log").read_text().splitlines()
    assert lines[0].startswith("train: 1/3 steps") and lines[-1].startswith("train: 3/3 steps")
