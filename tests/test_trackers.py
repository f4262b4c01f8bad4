"""Trackers: TensorBoard's files read back, a resumed run without doubles, a missing package named."""

import importlib.util
from dataclasses import replace

import pytest
import training_case as case

from astarpo.errors import InputError
from astarpo.training.trackers import check_installed, followers


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
    machine = replace(case.MACHINE, trackers=("tensorboard",))
    followed = case.trainer(tiny_folder, machine=machine).run(tmp_path / "b")
    assert plain.metrics == followed.metrics
    assert [step for step, _ in curve(tmp_path / "b", "loss")] == [1, 2, 3, 4]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_missing_package_is_named_with_the_command_that_installs_it():
    check_installed(["tensorboard"])
    with pytest.raises(InputError, match="names 'wandb'.*pip install wandb"):
        check_installed(["tensorboard", "wandb"])
