"""Trackers: TensorBoard's files read back, a resumed run without doubles, a missing package named."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import training_case as case

from astarpo.common.errors import InputError
from astarpo.training.trackers import check_in_environment, check_installed, followers

ROOT = Path(__file__).resolve().parent.parent
# Answers what Snakemake asks before it makes environments, and makes none.
CONDA = """#!/bin/sh
case "$1" in
  info) echo '{"platform": "linux-64", "root_prefix": "/", "conda_prefix": "/", "default_prefix": "/"}' ;;
  --version) echo "conda 26.1.0" ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
esac
"""


def curve(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(point.step, point.value) for point in events.Scalars(name)]


def test_tensorboard_shows_what_is_known(tmp_path):
    with followers(["tensorboard"], tmp_path, 1, []) as show:
        show({"step": 0, "reward": None, "validation_reward": 0.25})
        show({"step": 1, "reward": 0.5, "validation_reward": None})
    assert curve(tmp_path, "reward") == [(1, 0.5)]
    assert curve(tmp_path, "validation_reward") == [(0, 0.25)]


def test_steps_that_are_made_again_replace_the_lost_ones(tmp_path):
    with followers(["tensorboard"], tmp_path, 1, []) as show:
        for step in (1, 2, 3):
            show({"step": step, "reward": 0.25})
    with followers(["tensorboard"], tmp_path, 3, [{"step": 1}, {"step": 2}]) as show:
        show({"step": 3, "reward": 0.75})
    assert curve(tmp_path, "reward") == [(1, 0.25), (2, 0.25), (3, 0.75)]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_followed_run_is_the_same_run(tiny_folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = case.trainer(tiny_folder).run(tmp_path / "a")
    machine = case.MACHINE.changed(trackers=("tensorboard",))
    followed = case.trainer(tiny_folder, machine=machine).run(tmp_path / "b")
    assert plain.metrics == followed.metrics
    assert [step for step, _ in curve(tmp_path / "b", "loss")] == [1, 2, 3, 4]
    idle = [row["idle_share"] for row in followed.timings[1:]]
    assert curve(tmp_path / "b", "idle_share") == list(enumerate(map(pytest.approx, idle), start=1))


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_missing_package_is_named_with_the_command_that_installs_it():
    check_installed(["tensorboard"])
    with pytest.raises(InputError, match="names 'wandb'.*pip install wandb"):
        check_installed(["tensorboard", "wandb"])


def test_an_environment_that_does_not_install_a_tracker_is_named(tmp_path):
    """A conda job does not see what is installed here, so the environment's file is asked."""
    environment = tmp_path / "mine.yaml"
    environment.write_text("dependencies:\n  - pip:\n      - wandb==0.30.0\n      - tensorboard-data==1\n")
    check_in_environment(["wandb"], environment)
    with pytest.raises(InputError, match=r"names 'tensorboard', but .*mine.yaml does not install"):
        check_in_environment(["wandb", "tensorboard"], environment)
    with pytest.raises(InputError, match="add wandb to the pins"):
        check_in_environment(["wandb"], ROOT / "envs/training.yaml")


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "names 'wandb', but its package is not installed"),
        (("--software-deployment-method", "conda"), "envs/training.yaml does not install its package"),
    ],
)
def test_the_workflow_refuses_it_before_its_first_job(options, said, tmp_path):
    conda = tmp_path / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o755)
    config = tmp_path / "followed.yaml"
    config.write_text("machine: {trackers: [wandb]}\n")
    small = [str(ROOT / "config/config.yaml"), str(ROOT / "tests/configs/smoke.yaml")]
    files = ["--configfile", *small, str(config)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "train",
            "--cores",
            "1",
            "--forceall",
            "--nolock",
            *files,
            "--conda-prefix",
            str(tmp_path / "environments"),
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{conda.parent}:{os.environ['PATH']}"},
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 1 and said in printed and "rule prepare_dataset" not in printed
