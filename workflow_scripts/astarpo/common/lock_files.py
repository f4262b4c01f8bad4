"""Locks for file systems without `flock`: a file that only one process can create, and that says which one did.

Nothing deletes the file of a process that was killed, so it is checked whether that process still runs: on this host by
its number and start, in a SLURM job by asking SLURM. Where neither can tell, the lock counts as held.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from astarpo.common.writing import writing

SLURM_ANSWERS_S = 60.0
NO_SUCH_JOB = "Invalid job id"


def beside(path: Path) -> Path:
    """The file that stands for the lock of another file."""
    return path.with_name(f"{path.name}.held")


def take(path: Path) -> str | None:
    """Create the file, or replace that of a process that has ended.

    Args:
        path: the file; its folder exists.

    Returns:
        None if this process has the lock now, else who has it, in words.

    Raises:
        InputError: the file cannot be written.
    """
    while not _create(path):
        holder = _read(path)
        if holder is None:  # given back in the meantime
            continue
        if not _has_ended(holder):
            return _in_words(holder, path)
        # One process at a time removes it, or the second could remove the file of the first one.
        guard = path.with_name(f"{path.name}.guard")
        if not _create(guard):
            return _in_words(_read(guard) or {}, guard)
        try:
            if _read(path) == holder:
                path.unlink()
        finally:
            guard.unlink()
    return None


def give_back(path: Path) -> None:
    """Delete the file if it is this process's own."""
    if _read(path) == _this_process():
        path.unlink()


def _create(path: Path) -> bool:
    with writing(path):
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
    with writing(path, partial=path), open(file, "w", encoding="utf-8") as opened:
        json.dump(_this_process(), opened)
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """Who wrote it: None if there is no file, empty if it is not known."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # its process has not written yet, or was killed before it could
        return {}
    return holder if isinstance(holder, dict) else {}


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _has_ended(holder: dict[str, Any]) -> bool:
    if holder.get("host") == socket.gethostname():
        return not _runs(holder["process"], holder["started"])
    job = holder.get("slurm_job")
    return job is not None and not _is_in_queue(job)


def _runs(process: int, started: str | None) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's; the system may hide when it started
        return True
    return _started(process) == started


def _started(process: int) -> str | None:
    """The ticks since the system's start at which a process began, as numbers are used again; None if it has ended.

    Without /proc, as on macOS, it is None for every process.
    """
    with suppress(OSError):
        # The second field, a name in parentheses, may have spaces. See proc_pid_stat(5) for the others.
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    return None


def _is_in_queue(job: str) -> bool:
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%T"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_ANSWERS_S)
    except (OSError, subprocess.TimeoutExpired):
        return True
    if listed.returncode != 0:
        return NO_SUCH_JOB not in listed.stderr
    return bool(listed.stdout.strip())


def _in_words(holder: dict[str, Any], path: Path) -> str:
    job = holder.get("slurm_job")
    words = f"process {holder['process']} on {holder['host']}" if holder else "a process that is not known"
    words += f", SLURM job {job}" if job else ""
    if holder.get("host") == socket.gethostname():
        return words
    return f"{words}; if it has ended, delete {path}"
