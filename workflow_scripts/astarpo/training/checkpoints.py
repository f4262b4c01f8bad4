"""Checkpoints to resume a killed run from: complete or absent, and never another run's."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256, write_json
from astarpo.common.provenance import TrainingProvenance, versions
from astarpo.training.states import TrainingState
from astarpo.training.world import World

ALONE = World()
KEPT = 2
STATE = "state.pt"
CHECKSUMS = "sha256.json"
NAME = re.compile(r"step-\d{6,}")
ORIGIN = "made_from.json"
# Other versions of these packages may compute other numbers.
COMPUTING = ("torch", "transformers")


@dataclass(frozen=True)
class Origin:
    """What a training is made from. A training never resumes from a checkpoint of another origin.

    Attributes:
        settings: the settings JSON as received.
        seed: of the run.
        inputs: name -> sha256 of reference, data sets, selection and values.
        modules: source file -> hash of its code.
        versions: package -> version, for packages that affect numbers.
    """

    settings: str
    seed: int
    inputs: Mapping[str, str]
    modules: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the checkpoints."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def origin_of(made_from: TrainingProvenance) -> Origin:
    """Extract from a training's provenance what its checkpoints depend on, and add package versions."""
    used = {name: version for name, version in versions().items() if name in COMPUTING}
    return Origin(made_from["settings"], made_from["seed"], made_from["inputs"], made_from["modules"], used)


def folder_of_origin(scratch: Path, origin: Origin, world: World = ALONE) -> Path:
    """Return the folder of a training's checkpoints; if it is new, print why older ones cannot be used.

    Args:
        scratch: the folder of the run and seed, with one folder per origin.
        origin: of this training.
        world: the processes of the training; the first one creates the folder.
    """
    folder = scratch / origin.fingerprint
    record = folder / ORIGIN
    if world.is_first and not record.exists():
        others = sorted(scratch.glob(f"*/{ORIGIN}"), key=lambda path: path.stat().st_mtime)
        if others:
            print(f"starting over: {others[-1].parent} was made with {_what_differs(others[-1], origin)}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(origin))
    return folder


def _what_differs(record: Path, origin: Origin) -> str:
    other = read_json(record)
    differences = {
        "other settings": differing(flat_settings(other["settings"]), flat_settings(origin.settings)),
        "other inputs": differing(other["inputs"], origin.inputs),
        "other code": differing(other["modules"], origin.modules),
        "other versions": differing(other["versions"], origin.versions),
    }
    return "; ".join(f"{what} ({', '.join(names)})" for what, names in differences.items() if names) or "another seed"


def save(
    folder: Path,
    step: int,
    state: TrainingState,
    world: World = ALONE,
    save_shards: Callable[[Path], None] | None = None,
) -> None:
    """Write the checkpoint of a step, then delete all but the newest two.

    Args:
        folder: the run's scratch folder.
        step: the step just finished.
        state: to be returned by `load_newest`; the first process writes it.
        world: the processes of the training.
        save_shards: writes each process's shards to the given folder.
    """
    final = folder_of(folder, step)
    partial = final.with_name(f"{final.name}.partial")
    if world.is_first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with (partial / STATE).open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
    world.wait()
    if save_shards is not None:
        save_shards(partial)
    world.wait()
    if world.is_first:
        write_json(partial / CHECKSUMS, _checksums(partial))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        complete, _ = _entries(folder)
        for old in complete[:-KEPT]:
            shutil.rmtree(old)


def folder_of(folder: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return folder / f"step-{step:06d}"


def finished(folder: Path) -> list[Path]:
    """List complete checkpoints, oldest first; the log names other entries, which are ignored."""
    complete, others = _entries(folder)
    for path in others:
        print(f"{path}: ignored, not a checkpoint of this program", flush=True)
    return complete


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Separate complete checkpoints from what else has such a name; partial ones are neither."""
    entries = sorted(path for path in folder.glob("step-*") if path.suffix != ".partial")
    complete = [path for path in entries if NAME.fullmatch(path.name) and (path / STATE).is_file()]
    return complete, [path for path in entries if path not in complete]


def _checksums(checkpoint: Path) -> dict[str, str]:
    """Compute the sha256 of every file of a checkpoint except the list itself."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    with ThreadPoolExecutor() as threads:
        return dict(zip([str(path.relative_to(checkpoint)) for path in files], threads.map(sha256, files), strict=True))


def load_newest(folder: Path, world: World = ALONE) -> tuple[int, TrainingState] | None:
    """Load the newest readable checkpoint; every process loads the one that the first process chooses.

    Returns:
        Its step and state; None if there is none.
    """
    newest = _newest(finished(folder)) if world.is_first else None
    if world.size == 1:
        return newest
    step = world.gather(None if newest is None else newest[0])[0]
    if step is None or world.is_first:
        return newest
    return step, _load(folder_of(folder, step))  # its checksums were verified by the first process


def _newest(checkpoints: Sequence[Path]) -> tuple[int, TrainingState] | None:
    for path in reversed(checkpoints):
        try:
            _check(path)
            state = _load(path)
        except Exception as error:
            # Damaged files raise many kinds of errors; an older checkpoint may be readable.
            print(f"{path}: damaged, trying an older checkpoint ({error})", flush=True)
            continue
        return int(path.name.removeprefix("step-")), state
    return None


def _load(checkpoint: Path) -> TrainingState:
    state: TrainingState = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    return state


def _check(checkpoint: Path) -> None:
    """Verify a checkpoint's checksums."""
    changed = differing(read_json(checkpoint / CHECKSUMS), _checksums(checkpoint))
    if changed:
        raise InputError(f"changed since it was written: {', '.join(changed)}")
