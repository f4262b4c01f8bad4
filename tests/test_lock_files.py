"""Locks where the file system has none: still one process at a time, whatever way the other one ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astarpo.common.errors import InputError
from astarpo.common.locks import acquire, if_free, only_one, release, waiting

ROOT = Path(__file__).resolve().parents[1]
# As on NFS without a lock daemon; Python imports this module first.
WITHOUT_FLOCK = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""
HOLD = """
import sys
from astarpo.common.errors import InputError
from astarpo.common.locks import acquire
sys.stdin.readline()
try:
    acquire("lock", "the work")
except InputError as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.readline()
"""
WAIT = """
from astarpo.common.locks import waiting
with waiting("lock", "another one works"):
    print("mine", flush=True)
"""


@pytest.fixture(autouse=True)
def no_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and in those that it starts."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(WITHOUT_FLOCK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["site", str(ROOT / "workflow_scripts")]))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a program; what still runs at the end of the test is killed."""
    started = []

    def run(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def left_behind(**changes: Any) -> Path:
    """The file of another process, which has ended unless something else is said."""
    mark = {"host": os.uname().nodename, "process": ended(), "started": "1", "slurm_job": None, **changes}
    Path("lock.held").write_text(json.dumps(mark))
    return Path("lock.held")


def ended() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def is_free() -> bool:
    with if_free("lock") as free:
        return free


def test_a_second_one_is_refused_and_told_who_is_first(start: Start) -> None:
    first = start(HOLD)
    tell(first)
    assert said(first) == "held"
    with pytest.raises(InputError, match=rf"the work is already running \(process {first.pid} on [^;]*\); wait for it"):
        acquire("lock", "the work")
    assert not is_free()
    tell(first)
    assert first.wait() == 0
    assert is_free()


def test_the_lock_is_given_back_after_a_block() -> None:
    with only_one("new/lock", "the work"), pytest.raises(InputError, match=f"process {os.getpid()} on "):
        acquire("new/lock", "the work")
    assert [path.name for path in Path("new").iterdir()] == ["lock"]


def test_a_killed_process_has_no_lock_even_before_its_parent_has_noticed(start: Start) -> None:
    first = start(HOLD)
    tell(first)
    assert said(first) == "held"
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie
    assert is_free()


def test_of_several_that_find_the_file_of_a_killed_process_one_gets_the_lock(start: Start) -> None:
    left_behind()
    processes = [start(HOLD) for _ in range(4)]
    for process in processes:
        tell(process)
    answers = [said(process) for process in processes]
    assert answers.count("held") == 1
    assert all("already running" in answer for answer in answers if answer != "held")


def test_another_process_with_the_same_number_does_not_hold_it() -> None:
    left_behind(process=os.getppid(), started="1")
    assert is_free()


def test_who_was_killed_while_replacing_the_file_is_named_with_its_file() -> None:
    held = left_behind()
    guard = held.rename("lock.held.guard")
    left_behind(process=ended())
    with pytest.raises(InputError, match=r"\(process \d+ on "):
        acquire("lock", "the work")
    guard.write_text("")
    with pytest.raises(InputError, match=r"a process that is not known; if it has ended, delete lock\.held\.guard"):
        acquire("lock", "the work")
    guard.unlink()
    assert is_free()


def test_a_process_on_another_host_counts_as_running_until_a_person_says_otherwise() -> None:
    held = left_behind(host="node7", process=12)
    with pytest.raises(InputError, match=r"\(process 12 on node7; if it has ended, delete lock\.held\)"):
        acquire("lock", "the work")
    held.unlink()
    assert is_free()


@pytest.mark.parametrize(
    ("answer", "free"),
    [
        ("echo RUNNING", False),
        ("true", True),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", True),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", False),
    ],
)
def test_slurm_is_asked_for_a_job_on_another_host(
    answer: str, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    squeue = tmp_path / "bin/squeue"
    squeue.write_text(f'#!/bin/sh\n[ "$2" = --jobs=42 ] || exit 3\n{answer}\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}{os.pathsep}{os.environ['PATH']}")
    left_behind(host="node7", slurm_job="42")
    assert is_free() == free


def test_without_slurm_its_jobs_count_as_running(monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(host="node7", slurm_job="42")
    monkeypatch.setenv("PATH", "")
    assert not is_free()


def test_one_that_waits_goes_on_when_the_lock_is_given_back(start: Start) -> None:
    descriptor = acquire("lock", "the work")
    second = start(WAIT)
    assert said(second) == f"another one works (process {os.getpid()} on {os.uname().nodename}); waiting"
    assert second.poll() is None
    release("lock", descriptor)
    assert said(second) == "mine" and second.wait() == 0
    with waiting("lock", ""):
        assert not is_free()


def test_a_job_gives_back_the_lock_that_its_launcher_took() -> None:
    """So that it can run again on another host."""
    Path("job.py").write_text(
        "from astarpo.common import cli\nfrom pathlib import Path\n"
        "cli.run(lambda: print(*Path('results/.locks').rglob('*.held')))\n"
    )
    command = [sys.executable, str(ROOT / "workflow_scripts/launch.py"), "--log", "results/logs/a.log", "job.py"]
    subprocess.run(command, check=True)
    assert Path("results/logs/a.log").read_text() == "results/.locks/a.log.lock.held\n"
    assert [path.name for path in Path("results/.locks").iterdir()] == ["a.log.lock"]
