"""Locks that keep a second start of the same work away while the first still runs."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.writing import writing

WITHOUT_WAITING = fcntl.LOCK_EX | fcntl.LOCK_NB


def acquire(path: str | Path, work: str) -> int:
    """Take the lock of a file; it is held until the descriptor is closed in every process that has it.

    Args:
        path: the file, made if it is missing; it stays behind, and says who has the lock.
        work: what must not be done twice at a time, for the message.

    Returns:
        A file descriptor.

    Raises:
        InputError: another process has the lock, or the file cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, WITHOUT_WAITING)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise InputError(f"{work} is already running ({holder}); wait for it, or stop it and start again") from error
    except OSError as error:  # some network file systems have no locks
        print(f"{path}: this file system has no locks ({error}), so a second start would not be noticed", flush=True)
    job = os.environ.get("SLURM_JOB_ID")
    os.ftruncate(descriptor, 0)
    holder = f"process {os.getpid()} on {socket.gethostname()}" + (f", SLURM job {job}" if job else "")
    with writing(path):
        os.pwrite(descriptor, holder.encode(), 0)
    return descriptor


@contextmanager
def only_one(path: str | Path, work: str) -> Iterator[None]:
    """Hold the lock of a file for a block; the arguments and errors are those of `acquire`."""
    descriptor = acquire(path, work)
    try:
        yield
    finally:
        os.close(descriptor)


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
        os.close(descriptor)


@contextmanager
def waiting(path: str | Path, reason: str) -> Iterator[None]:
    """Hold the lock of a file for a block, and wait for it if necessary.

    Args:
        path: the file, made if it is missing.
        reason: what to print while waiting.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, WITHOUT_WAITING)
        except BlockingIOError:
            print(f"{reason}; waiting", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{path}: this file system has no locks ({error}), so work may be done twice", flush=True)
        yield
    finally:
        os.close(descriptor)
