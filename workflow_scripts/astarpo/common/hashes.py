"""Hashes of large files, cached to avoid reading gigabytes each time."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from astarpo.common.files import sha256

SMALL = 1 << 24
HASHES = Path("results/.hashes")


def remembered_sha256(path: str | Path, store: str | Path = HASHES, small: int = SMALL) -> str:
    """Hash a file, or look up the hash if the file is large and unchanged.

    A file counts as changed if its size, inode, device, mtime or ctime differ; as ctime cannot be set, a copy that
    preserves times is noticed as well.

    Args:
        path: the file.
        store: folder of the cache, one entry per path; created if its parent exists.
        small: smaller files, in bytes, are always read.
    """
    real = Path(path).resolve()
    before = real.stat()
    if before.st_size < small:
        return sha256(real)
    state = [before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino, before.st_dev]
    entry = Path(store) / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.json"
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
        if known["state"] == state:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = sha256(real)
    _remember(entry, {"path": str(real), "state": state, "sha256": digest})
    return digest


def _remember(entry: Path, value: dict[str, object]) -> None:
    """Write an entry atomically; if that fails, the file is read again next time."""
    partial = entry.with_name(f"{entry.name}.{os.getpid()}")
    try:
        entry.parent.mkdir(exist_ok=True)
        partial.write_text(json.dumps(value), encoding="utf-8")
        os.replace(partial, entry)
    except OSError:
        partial.unlink(missing_ok=True)
