"""Locks in torch's cache of compiled extensions, for which torch would wait forever if their build was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

LEAST_AGE_S = 2.0  # of a lock to delete: one that was taken while this module looked is younger
LONGEST_BUILD_S = 600.0
POLL_S = 1.0


def extensions_folder() -> Path:
    """Return the folder in which torch compiles extensions."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(cache) / "torch_extensions")


def await_builds(folder: Path) -> None:
    """Wait until no extension is locked, and delete the locks of builds that were killed.

    torch itself waits for a lock until it is gone, whether its owner lives or not. The log says what is waited for.

    Args:
        folder: see `extensions_folder`; each extension has a folder of its own, in one for the versions of Python and
            the device.
    """
    named: set[Path] = set()
    while locks := _locks_after_clearing(folder):
        for lock in sorted(locks - named):
            print(f"{lock}: waiting for the build that locked this folder", flush=True)
        named |= locks
        time.sleep(POLL_S)


def _locks_after_clearing(folder: Path) -> set[Path]:
    """The locks that are left once those of killed builds are deleted; none where that cannot be told.

    A build keeps its lock open, and its compiler, which may outlive it, works in the folder. Builds on other nodes of
    a cluster, which may share the folder, are not seen, so in a SLURM job only locks older than any build are deleted.
    """
    locks = {*folder.glob("*/lock"), *folder.glob("*/*/lock")}
    if not locks or not Path("/proc/self/fd").exists():  # as on macOS
        return set()
    used = _used_paths()
    least_age_s = LONGEST_BUILD_S if "SLURM_JOB_ID" in os.environ else LEAST_AGE_S
    for lock in list(locks):
        if not {lock.resolve(), lock.parent.resolve()} & used and _age_s(lock) > least_age_s:
            lock.unlink(missing_ok=True)
            print(f"{lock}: deleted, because the build that locked this folder was killed", flush=True)
            locks.remove(lock)
    return locks


def _used_paths() -> set[Path]:
    """The files that processes have open and the folders in which they work, as far as this user may see."""
    links = [link for process in Path("/proc").glob("[0-9]*") for link in _links_of(process)]
    return set(filter(None, map(_target, links)))


def _links_of(process: Path) -> list[Path]:
    try:
        return [process / "cwd", *(process / "fd").iterdir()]
    except OSError:  # it has ended, or is another user's
        return []


def _target(link: Path) -> Path | None:
    try:
        return Path(os.readlink(link))
    except OSError:  # closed in the meantime
        return None


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # released in the meantime
        return 0.0
