"""Checkpoints: whole or absent, the newest that can be read, one writer, never another run's."""

from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec

import pytest
import torch

from astarpo.common import origins
from astarpo.model import checkpoints
from astarpo.model.world import World


def test_the_newest_of_the_last_two_is_found(tmp_path):
    for step in (1, 2, 10):
        checkpoints.save(tmp_path, step, {"step": step})
    assert [path.name for path in checkpoints.finished(tmp_path)] == ["step-000002", "step-000010"]
    assert checkpoints.load_newest(tmp_path) == (10, {"step": 10})


def test_a_broken_or_half_written_checkpoint_is_passed_over(tmp_path, capsys):
    checkpoints.save(tmp_path, 1, {"step": 1})
    checkpoints.save(tmp_path, 2, {"step": 2})
    (tmp_path / "step-000002" / checkpoints.STATE).write_bytes(b"half")
    (tmp_path / "step-000003.partial").mkdir()
    assert checkpoints.load_newest(tmp_path) == (1, {"step": 1})
    assert (
        "step-000002: damaged, trying an older checkpoint (changed since it was written: state.pt"
        in capsys.readouterr().out
    )


def test_damaged_checkpoints_of_later_steps_do_not_cost_the_new_ones(tmp_path):
    """Both were damaged, so the training began anew: its checkpoints are of earlier steps than theirs."""
    for step in (8, 9):
        checkpoints.save(tmp_path, step, {"step": step})
        (tmp_path / f"step-{step:06d}" / checkpoints.STATE).write_bytes(b"half")
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, {"step": step})
        assert checkpoints.load_newest(tmp_path) == (step, {"step": step})
    assert [path.name[-1] for path in checkpoints.finished(tmp_path)] == ["2", "3", "8", "9"]
    for step in (8, 9):
        checkpoints.save(tmp_path, step, {"step": step})
    assert [path.name[-1] for path in checkpoints.finished(tmp_path)] == ["8", "9"]


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_noticed(tmp_path):
    """Also one that leaves a file that can be read, and in what engines write beside the state."""
    weights = torch.arange(64, dtype=torch.float32)
    save_shards = partial(torch.save, {"moments": weights})
    checkpoints.save(tmp_path, 1, {"step": 1})
    checkpoints.save(tmp_path, 2, {"weights": weights}, save_shards=lambda folder: save_shards(folder / "shard-0.pt"))
    step, state = checkpoints.load_newest(tmp_path)
    assert step == 2 and torch.equal(state["weights"], weights)
    for name in (checkpoints.STATE, "shard-0.pt"):
        path = tmp_path / "step-000002" / name
        written = path.read_bytes()
        place = written.index(weights.numpy().tobytes())  # in the middle of the numbers: still a file for torch
        path.write_bytes(written[: place + 3] + bytes([written[place + 3] ^ 64]) + written[place + 4 :])
        assert torch.load(path, weights_only=True) is not None
        assert checkpoints.load_newest(tmp_path) == (1, {"step": 1})
        path.write_bytes(written)
    (tmp_path / "step-000002" / "shard-0.pt").unlink()
    assert checkpoints.load_newest(tmp_path) == (1, {"step": 1})


def test_what_is_no_checkpoint_is_left_alone(tmp_path, capsys):
    checkpoints.save(tmp_path, 1, {"step": 1})
    for name in ("step-000001 (copy)", "step-final", "step-000009"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-7").write_text("mine")
    assert checkpoints.load_newest(tmp_path) == (1, {"step": 1})
    assert capsys.readouterr().out.count("ignored, not a checkpoint of this program") == 4
    checkpoints.save(tmp_path, 2, {})
    checkpoints.save(tmp_path, 3, {})
    assert capsys.readouterr().out == ""  # said once, when a training starts
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("step-")]) == 6


def test_none_is_none(tmp_path):
    assert checkpoints.load_newest(tmp_path) is None


ORIGIN = origins.Origin('{"lr":1,"of":{"beta2":2}}', 0, {"a": "1", "b": "2"}, {"x.py": "3"}, {"torch": "2.0"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"settings": '{"lr":1,"of":{"beta2":3}}'}, "other settings (of.beta2)"),
        ({"seed": 1}, "another seed"),
        ({"inputs": {"a": "2", "b": "1"}}, "other inputs (a, b)"),
        ({"inputs": {"a": "1"}}, "other inputs (b)"),
        ({"modules": {"x.py": "4"}}, "other code (x.py)"),
        ({"modules": {"x.py": "3", "y.py": "4"}}, "other code (y.py)"),
        ({"versions": {"torch": "2.1"}}, "other versions (torch)"),
        ({"modules": {}, "versions": {}}, "other code (x.py); other versions (torch)"),
    ],
)
def test_another_origin_has_other_checkpoints_and_says_why(changes, why, tmp_path, capsys):
    first = origins.folder_of_origin(tmp_path, ORIGIN)
    assert first == origins.folder_of_origin(tmp_path, replace(ORIGIN)) and capsys.readouterr().out == ""
    other = origins.folder_of_origin(tmp_path, replace(ORIGIN, **changes))
    assert other != first and other.parent == first.parent
    assert capsys.readouterr().out == f"starting over: {first} was made with {why}\n"
    assert origins.folder_of_origin(tmp_path, replace(ORIGIN, **changes)) == other
    assert capsys.readouterr().out == ""


def test_checkpoints_of_another_number_of_processes_are_named_with_the_way_back(tmp_path, capsys):
    alone = checkpoints.folder_of_world(tmp_path)
    assert capsys.readouterr().out == ""
    checkpoints.save(alone, 2, {"step": 2})
    assert checkpoints.folder_of_world(tmp_path) == alone and capsys.readouterr().out == ""
    for rank in (0, 1):
        assert checkpoints.folder_of_world(tmp_path, World(rank, 4)) == tmp_path / "world-4"
    assert capsys.readouterr().out == (
        f"starting over: {alone}/step-000002 was written by 1 processes, and this training has 4; to go on from it, "
        "set machine.devices (times nodes) to 1\n"
    )


def test_the_order_of_inputs_names_no_other_checkpoints():
    assert replace(ORIGIN, inputs={"b": "2", "a": "1"}).fingerprint == ORIGIN.fingerprint


def test_an_origin_has_the_versions_of_what_computes():
    made_from = {"settings": "{}", "inputs": {"a": "1"}, "code": "ff", "modules": {"x.py": "3"}}
    origin = origins.origin_of(made_from, 3)
    assert (origin.settings, origin.seed, origin.inputs, origin.modules) == ("{}", 3, {"a": "1"}, {"x.py": "3"})
    engines = {name: version for name, version in origin.versions.items() if name.startswith("vllm")}
    assert bool(engines) is (find_spec("vllm") is not None)
    assert origin.versions == {name: metadata.version(name) for name in ("torch", "transformers")} | engines
