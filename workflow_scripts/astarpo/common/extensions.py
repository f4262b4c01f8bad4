"""Locks in torch's cache of compiled extensions that a killed build has left."""

from __future__ import annotations

import os
import time
from pathlib import Path

LEAST_AGE_S = 10.0  # before a build starts its compiler
LONGEST_BUILD_S = 600.0


def extensions_folder() -> Path:
    """Return the folder in which torch compiles extensions."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(cache) / "torch_extensions")


def remove_abandoned_locks(folder: Path) -> list[Path]:
    """Delete the locks of builds that no process works on any more, for which torch would wait forever.

    A build runs its compiler in the folder that it locks. Builds on other nodes of a cluster, which may share the
    folder, are not seen, so in a SLURM job only locks older than any build are deleted; without /proc, as on macOS,
    none are.

    Args:
        folder: see `extensions_folder`; each extension has a folder of its own, in one for the versions of Python and
            the device.

    Returns:
        The locks that were deleted.
    """
    locks = [*folder.glob("*/lock"), *folder.glob("*/*/lock")]
    if not locks or not Path("/proc/self/cwd").exists():
        return []
    working = set(filter(None, map(_working_folder, Path("/proc").glob("[0-9]*"))))
    least_age_s = LONGEST_BUILD_S if "SLURM_JOB_ID" in os.environ else LEAST_AGE_S
    abandoned = [lock for lock in locks if _age_s(lock) > least_age_s and lock.parent.resolve() not in working]
    for lock in abandoned:
        lock.unlink(missing_ok=True)
        print(f"{lock}: deleted, because the build that locked this folder was killed", flush=True)
    return abandoned


def _working_folder(process: Path) -> Path | None:
    try:
        return Path(os.readlink(process / "cwd"))
    except OSError:  # it has ended, or is another user's
        return None


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # released in the meantime
        return 0.0
