"""Locks of killed builds are deleted, and builds that run are waited for: torch would wait for the former forever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from astarpo.common.extensions import await_builds, extensions_folder

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="processes are listed in /proc")

ROOT = Path(__file__).resolve().parents[1]
# As torch's FileBaton: the lock is open for as long as the build runs.
BUILD = "import os, sys; os.open(sys.argv[1], os.O_CREAT); print(flush=True); input(); os.remove(sys.argv[1])"
COMPILER = "print(flush=True); input()"  # works in the folder, and outlives the build that started it


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def at_pauses(monkeypatch):
    """What happens at the pauses of a wait, one after another; a wait with more of them fails."""
    happens = []
    monkeypatch.setattr(time, "sleep", lambda _: happens.pop(0)())
    return happens


def lock_of(folder: Path, name: str, age_s: float = 3600.0) -> Path:
    lock = folder / "py311_cpu" / name / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    set_age(lock, age_s)
    return lock


def set_age(lock: Path, age_s: float) -> None:
    os.utime(lock, (time.time() - age_s,) * 2)


def start(program: str, lock: Path, folder: Path) -> subprocess.Popen:
    """Run a program in a folder, up to its first line; it ends when it is given one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program, str(lock)], cwd=folder, **pipes)
    process.stdout.readline()
    return process


@pytest.mark.parametrize("program", [BUILD, COMPILER])
def test_a_build_that_runs_is_waited_for_and_a_killed_one_is_not(tmp_path, capsys, at_pauses, program):
    killed, used = lock_of(tmp_path, "killed"), lock_of(tmp_path, "used")
    process = start(program, used, tmp_path if program == BUILD else used.parent)
    seen = []

    def look_and_end():
        seen.append((killed.exists(), used.exists()))
        process.communicate(b"\n")

    at_pauses.append(look_and_end)
    await_builds(tmp_path)
    assert seen == [(False, True)] and not used.exists()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{killed}: deleted, because the build that locked this folder was killed"
    assert said[1] == f"{used}: waiting for the build that locked this folder"
    # The build itself removes its lock; that of the compiler is one of a build that was killed.
    assert len(said) == (2 if program == BUILD else 3)


def test_a_build_that_is_killed_while_it_is_waited_for(tmp_path, at_pauses):
    lock = lock_of(tmp_path, "used")
    process = start(BUILD, lock, tmp_path)
    at_pauses.append(lambda: (process.kill(), process.communicate()))
    await_builds(tmp_path)
    assert not lock.exists()


def test_a_lock_that_was_taken_just_now_may_be_of_a_build_that_was_not_seen(tmp_path, at_pauses):
    lock = lock_of(tmp_path, "fresh", 0.0)
    at_pauses.append(lambda: set_age(lock, 10.0))
    await_builds(tmp_path)
    assert not lock.exists() and not at_pauses


def test_on_a_cluster_the_build_may_be_on_another_node(tmp_path, monkeypatch, at_pauses):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    recent, old = lock_of(tmp_path, "recent", 300.0), lock_of(tmp_path, "old", 900.0)
    seen = []
    at_pauses += [lambda: seen.append((recent.exists(), old.exists())), lambda: set_age(recent, 700.0)]
    await_builds(tmp_path)
    assert seen == [(True, False)] and not recent.exists()


def test_a_training_with_deepspeed_looks_before_it_starts(tmp_path):
    lock = lock_of(tmp_path, "killed")
    done = subprocess.run(
        [sys.executable, "-c", "from astarpo.model.world import join_world; join_world('cpu')"],
        env={**os.environ, "TORCH_EXTENSIONS_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "workflow_scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{lock}: deleted") and not lock.exists()


def test_the_folder_is_torchs(monkeypatch, tmp_path):
    from torch.utils.cpp_extension import get_default_build_root

    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(extensions_folder()) == get_default_build_root()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", "/elsewhere")
    assert str(extensions_folder()) == "/elsewhere"
