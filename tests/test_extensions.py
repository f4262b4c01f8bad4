"""Locks of killed builds are deleted; those of builds that run, or have just begun, stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from astarpo.common.extensions import extensions_folder, remove_abandoned_locks

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="processes are listed in /proc")


def lock_of(folder: Path, name: str, age_s: float = 3600.0) -> Path:
    lock = folder / "py311_cpu" / name / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


def test_only_locks_that_nobody_works_behind_are_deleted(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    killed, fresh, building = (
        lock_of(tmp_path, "killed"),
        lock_of(tmp_path, "fresh", 0.0),
        lock_of(tmp_path, "building"),
    )
    compiler = subprocess.Popen([sys.executable, "-c", "input()"], cwd=building.parent, stdin=subprocess.PIPE)
    try:
        assert remove_abandoned_locks(tmp_path) == [killed]
    finally:
        compiler.communicate(b"\n")
    assert not killed.exists() and fresh.exists() and building.exists()
    assert "killed/lock: deleted, because the build that locked this folder was killed" in capsys.readouterr().out
    assert remove_abandoned_locks(tmp_path) == [building]  # its compiler has ended


def test_on_a_cluster_the_build_may_be_on_another_node(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    lock_of(tmp_path, "recent", 300.0)
    old = lock_of(tmp_path, "old", 900.0)
    assert remove_abandoned_locks(tmp_path) == [old]


def test_the_folder_is_torchs(monkeypatch, tmp_path):
    from torch.utils.cpp_extension import get_default_build_root

    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(extensions_folder()) == get_default_build_root()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/elsewhere")
    assert str(extensions_folder()) == "/elsewhere"
