"""Locks that keep a second start of the same work away while the first still runs."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astarpo.common import lock_files
from astarpo.common.errors import InputError
from astarpo.common.writing import writing

WITHOUT_WAITING = fcntl.LOCK_EX | fcntl.LOCK_NB
INHERITED = "ASTARPO_INHERITED_LOCK"  # the lock that the launcher took for the script that replaces it
ASK_AGAIN_S = 0.5


def acquire(path: str | Path, work: str) -> int:
    """Take the lock of a file; it is held until the descriptor is closed in every process that has it.

    On a file system without locks it is held until `release`, or until this process has ended.

    Args:
        path: the file, made if it is missing; it stays behind, and says who has the lock.
        work: what must not be done twice at a time, for the message.

    Returns:
        A file descriptor.

    Raises:
        InputError: another process has the lock, or the file cannot be written.
    """
    path = Path(path)
    descriptor = _open(path)
    holder = _try_to_lock(path, descriptor)
    if holder is not None:
        os.close(descriptor)
        raise InputError(f"{work} is already running ({holder}); wait for it, or stop it and start again")
    job = os.environ.get("SLURM_JOB_ID")
    os.ftruncate(descriptor, 0)
    holder = f"process {os.getpid()} on {socket.gethostname()}" + (f", SLURM job {job}" if job else "")
    with writing(path):
        os.pwrite(descriptor, holder.encode(), 0)
    return descriptor


def release(path: str | Path, descriptor: int) -> None:
    """Give back a lock; the descriptor is that of `acquire`."""
    os.close(descriptor)
    lock_files.give_back(lock_files.beside(Path(path)))


@contextmanager
def only_one(path: str | Path, work: str) -> Iterator[None]:
    """Hold the lock of a file for a block; the arguments and errors are those of `acquire`."""
    descriptor = acquire(path, work)
    try:
        yield
    finally:
        release(path, descriptor)


@contextmanager
def if_free(path: str | Path) -> Iterator[bool]:
    """Hold the lock of a file for a block if nobody else does; yield whether it is held."""
    try:
        descriptor = acquire(path, "this")
    except InputError:
        yield False
        return
    try:
        yield True
    finally:
        release(path, descriptor)


@contextmanager
def waiting(path: str | Path, reason: str) -> Iterator[None]:
    """Hold the lock of a file for a block, and wait for it if necessary.

    Args:
        path: the file, made if it is missing.
        reason: what to print while waiting.
    """
    path = Path(path)
    descriptor = _open(path)
    try:
        holder = _try_to_lock(path, descriptor)
        if holder is not None:
            print(f"{reason}{f' ({holder})' if holder else ''}; waiting", flush=True)
        while holder is not None:
            time.sleep(ASK_AGAIN_S)
            holder = _try_to_lock(path, descriptor)
        yield
    finally:
        release(path, descriptor)


@contextmanager
def inherited() -> Iterator[None]:
    """At the end of a block, give back the lock that the launcher took for this script.

    The system does so itself, but not on a file system without locks. Of the processes of one training the first does.
    """
    path = os.environ.pop(INHERITED, None)
    try:
        yield
    finally:
        path = path or os.environ.get(INHERITED)  # the launcher's own, if it fails before it is replaced
        if path is not None and os.environ.get("RANK", "0") == "0":
            with suppress(OSError):
                lock_files.beside(Path(path)).unlink()


def _open(path: Path) -> int:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _try_to_lock(path: Path, descriptor: int) -> str | None:
    """Take the lock if it is free; return None, or else who has it."""
    try:
        fcntl.flock(descriptor, WITHOUT_WAITING)
    except BlockingIOError:
        return os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
    except OSError:  # some network file systems have no locks
        return lock_files.take(lock_files.beside(path))
    return None
