"""The trace of `machine.profile_steps`: its steps and phases, and the same training with and without it."""

from __future__ import annotations

import gzip
import json

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.training import trace
from astarpo.training.job import _checked_folder
from astarpo.training.phases import PhaseClock
from astarpo.training.trace import Trace

PHASES = {"generate", "grade", "reference", "update"}


def written(folder):
    """The names of the traces in a folder, and the ranges of the first."""
    paths = sorted(folder.glob("trace-*"))
    return [path.name for path in paths], ranges(paths[0]) if paths else {}


def record(steps, made, folder):
    """Trace some steps as a training makes them."""
    with Trace(steps, folder) as recorder:
        for step in made:
            with recorder.step(step), PhaseClock().phase("update"):
                torch.ones(2).sum()


def ranges(path):
    """name -> (start, end) of each range that the training named."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = {}
    for event in json.loads(text)["traceEvents"]:
        if event.get("cat") == "user_annotation":
            found.setdefault(event["name"], []).append((event["ts"], event["ts"] + event["dur"]))
    return found


def test_the_trace_has_the_steps_and_their_phases_and_changes_no_number(tiny_folder, tmp_path):
    for name in ("plain", "traced"):
        (tmp_path / name).mkdir()
    plain = case.trainer(tiny_folder)
    whole = plain.run(tmp_path / "plain")
    made = case.trainer(tiny_folder, machine=case.MACHINE.changed(profile_steps=(2, 3)))
    history = made.run(tmp_path / "traced")
    assert history.metrics == whole.metrics and history.rollouts == whole.rollouts
    assert torch.equal(case.weights(made), case.weights(plain))
    (name,), found = written(tmp_path / "traced")
    assert name.removesuffix(".gz") == "trace-steps-2-3.json"
    assert [name for name in sorted(found) if name.startswith("step")] == ["step 2", "step 3"]
    for step in ("step 2", "step 3"):
        ((start, end),) = found[step]
        inside = {name for name, times in found.items() for one in times if start <= one[0] and one[1] <= end}
        assert inside > PHASES


def test_a_large_trace_is_compressed(tmp_path, monkeypatch):
    record((4, 4), range(1, 6), tmp_path)
    assert written(tmp_path)[0] == ["trace-steps-4-4.json"]
    monkeypatch.setattr(trace, "LARGE_BYTES", 100)
    record((4, 4), range(1, 6), tmp_path / "large")
    assert written(tmp_path / "large")[0] == ["trace-steps-4-4.json.gz"]
    assert set(written(tmp_path)[1]) == set(written(tmp_path / "large")[1]) == {"step 4", "update"}


def test_a_training_that_is_stopped_leaves_what_it_recorded_and_the_rest_when_resumed(tmp_path):
    record((1, 3), [1, 2], tmp_path / "stopped")
    record((1, 3), [3, 4], tmp_path / "resumed")
    assert written(tmp_path / "stopped")[0] == ["trace-steps-1-2.json"]
    assert set(written(tmp_path / "stopped")[1]) == {"step 1", "step 2", "update"}
    assert written(tmp_path / "resumed")[0] == ["trace-steps-3-3.json"]


def test_without_steps_nothing_is_recorded(tmp_path):
    record(None, [1, 2], tmp_path)
    record((3, 4), [1, 2], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_step_that_fails_is_not_written(tmp_path):
    with pytest.raises(ZeroDivisionError), Trace((1, 1), tmp_path) as recorder, recorder.step(1):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_steps_that_a_training_does_not_make_are_refused_before_anything_is_read():
    machine = case.MACHINE.changed(profile_steps=(3, 5))
    said = r"machine.profile_steps = \[3, 5\]: 5 is above the training's steps, 4; choose"
    with pytest.raises(InputError, match=said):
        _checked_folder(case.SETTINGS.changed(hyperparameters={}, method="grpo"), machine, {})
