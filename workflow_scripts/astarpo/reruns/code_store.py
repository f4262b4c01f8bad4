"""What fingerprints of code stood for: kept beside the results, so that an edit can be named later."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from astarpo.common.code import check_planned
from astarpo.common.files import read_json, write_json

STORE = Path("results/.code")


def remember(fingerprints: Iterable[str]) -> None:
    """Keep which modules fingerprints of the present code stand for."""
    for fingerprint in set(fingerprints):
        digest, script = fingerprint.split()[:2]
        path = STORE / f"{digest}.json"
        if not path.exists():
            write_json(path, dict(check_planned(script, fingerprint).modules))


def recall(fingerprint: str) -> dict[str, str] | None:
    """The modules that a fingerprint stood for, file -> hash; None where that was not kept."""
    path = STORE / f"{fingerprint.split()[0]}.json"
    return dict(read_json(path)) if path.exists() else None
