"""Results that Snakemake has no record of, compared with the configuration by what they recorded themselves.

Snakemake runs a job again if its settings or code differ from those in `.snakemake`. Without that folder it takes every
existing file as it is, whatever the configuration says.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.code import read_code
from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.common.provenance import read_provenance
from astarpo.tables.plan import Expected

METADATA = Path(".snakemake/metadata")
MOST_NAMED = 3


@dataclass(frozen=True)
class Stale:
    """A result that the configuration would not make.

    Attributes:
        file: the result.
        reason: what differs.
    """

    file: str
    reason: str


def is_unrecorded(file: str) -> bool:
    """Whether a result exists of which Snakemake has no record."""
    return os.path.exists(file) and not _record(file).exists()


def stale_results(expected: Iterable[Expected]) -> list[Stale]:
    """Find results that were made with other settings or other code, or do not say with which.

    Args:
        expected: results that exist.
    """
    found = [Stale(entry["file"], _reason(entry)) for entry in expected]
    return [stale for stale in found if stale.reason]


def describe(stale: Sequence[Stale]) -> str:
    """Say in one line which results are stale, why, and how to make them again."""
    named = ", ".join(f"{one.file} ({one.reason})" for one in stale[:MOST_NAMED])
    more = f" and {len(stale) - MOST_NAMED} more" if len(stale) > MOST_NAMED else ""
    return (
        "made with other settings or code than now, and not in Snakemake's records (.snakemake), so they would not run "
        f"again: {named}{more}; delete them to make them again, or accept them with `snakemake --touch --cores 1`"
    )


def _reason(entry: Expected) -> str:
    try:
        recorded = read_provenance(entry["file"])
    except InputError:
        return "damaged"
    if "settings" not in recorded:
        return "without a record of its settings"
    names = differing(flat_settings(recorded["settings"]), flat_settings(entry["settings"]))
    if names:
        shown = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
        return f"settings: {shown}"
    current = read_code(entry["rule"], tuple(entry["chosen"])).sha256
    return "" if recorded.get("code") == current else "code"


def _record(file: str) -> Path:
    """Where Snakemake's `FilePersistence` keeps what it knows of a file."""
    name = urlsafe_b64encode(file.encode()).decode()
    longest = os.pathconf(METADATA, "PC_NAME_MAX") - 1 if METADATA.is_dir() else 254
    parts = [name[start : start + longest] for start in range(0, len(name), longest)]
    return METADATA.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
