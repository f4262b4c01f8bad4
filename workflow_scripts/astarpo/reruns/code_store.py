"""The modules behind each fingerprint of code, stored beside the results so that later edits can be named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from astarpo.common.code import check_planned
from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object, write_json

STORE = Path("results/.code")


def remember(fingerprints: Iterable[str]) -> None:
    """Store the modules behind the fingerprints of the current code."""
    for fingerprint in set(fingerprints):
        digest, script = fingerprint.split()[:2]
        path = STORE / f"{digest}.json"
        if not path.exists():
            write_json(path, dict(check_planned(script, fingerprint).modules))


def recall(fingerprint: str) -> dict[str, str] | None:
    """The modules behind a fingerprint, file -> hash; None if they were not stored, or cannot be read any more."""
    try:
        return read_json_object(STORE / f"{fingerprint.split()[0]}.json")
    except InputError:
        return None
