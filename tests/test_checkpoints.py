"""Checkpoints: whole or absent, the newest that can be read, one writer, never another run's."""

import pytest

from astarpo.common.errors import InputError
from astarpo.training import checkpoints


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
    assert "step-000002: unreadable" in capsys.readouterr().out


def test_none_is_none(tmp_path):
    assert checkpoints.load_newest(tmp_path) is None


def test_fingerprint_tells_settings_seed_and_inputs_apart():
    base = checkpoints.fingerprint("{}", 0, {"reference": "a", "dataset": "b"})
    assert base == checkpoints.fingerprint("{}", 0, {"dataset": "b", "reference": "a"})
    others = [
        checkpoints.fingerprint('{"lr":1}', 0, {"reference": "a", "dataset": "b"}),
        checkpoints.fingerprint("{}", 1, {"reference": "a", "dataset": "b"}),
        checkpoints.fingerprint("{}", 0, {"reference": "b", "dataset": "a"}),
        checkpoints.fingerprint("{}", 0, {"reference": "a"}),
    ]
    assert len({base, *others}) == 5


def test_a_second_writer_is_refused(tmp_path):
    second = checkpoints.only_writer(tmp_path)
    with (
        checkpoints.only_writer(tmp_path),
        pytest.raises(InputError, match="another process trains this run \\(process "),
    ):
        second.__enter__()
    with checkpoints.only_writer(tmp_path):
        pass
