"""One process at a time: a second start of the same work is refused until the first is gone, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from astarpo.common.errors import InputError
from astarpo.common.locks import acquire, only_one

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "workflow_scripts/launch.py"
# Says that it has begun, then waits for a file; the last line is what a script writes last, its manifest.
WORK = """
import sys, time
from pathlib import Path
print("begun", flush=True)
while not Path("end").exists():
    time.sleep(0.02)
Path("manifest.json").write_text("{}")
"""


def test_a_second_one_is_refused_and_told_who_is_first(tmp_path):
    with only_one(tmp_path / "new/lock", "the training in a"):
        with pytest.raises(
            InputError, match=f"the training in a is already running \\(process {os.getpid()} on .*wait"
        ):
            acquire(tmp_path / "new/lock", "the training in a")
        with only_one(tmp_path / "other", "another"):
            pass
    with only_one(tmp_path / "new/lock", "the training in a"):
        pass


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start the job; what still runs at the end of the test is killed."""
    (tmp_path / "work.py").write_text(WORK)
    started = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, str(LAUNCH), "--log", "results/logs/work/a.log", "work.py"]
        started.append(subprocess.Popen(command, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(path: Path, text: str) -> None:
    for _ in range(1200):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path}: no {text!r} within a minute")


def test_a_job_whose_snakemake_died_is_not_started_beside_itself(tmp_path, launch):
    """What Snakemake does after --unlock: the log is removed, and the same command runs again."""
    log = tmp_path / "results/logs/work/a.log"
    first = launch()
    wait_for(log, "begun")
    log.unlink()
    second = launch()
    assert second.wait(timeout=60) == 1
    assert log.read_text().startswith("error: the job of results/logs/work/a.log is already running (process ")
    (tmp_path / "end").touch()
    assert first.wait() == 0 and (tmp_path / "manifest.json").exists()
    third = launch()
    assert third.wait() == 0


def test_a_killed_job_leaves_no_lock(tmp_path, launch):
    first = launch()
    wait_for(tmp_path / "results/logs/work/a.log", "begun")
    first.send_signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "end").touch()
    assert launch().wait() == 0
