"""Checkpoints that a killed run goes on from: whole or absent, never another run's."""

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
# A checkpoint of another version of these may mean other numbers.
COMPUTING = ("torch", "transformers")


@dataclass(frozen=True)
class Origin:
    """What a training is made from. Checkpoints of another origin are never gone on from.

    Attributes:
        settings: the settings JSON as received.
        seed: of the run.
        inputs: name -> sha256 of reference, data sets, selection and values.
        modules: file of code -> hash of what it says.
        versions: package -> version, of those that compute.
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
    """Take from a training's provenance what its checkpoints depend on, and add the versions of what computes."""
    used = {name: version for name, version in versions().items() if name in COMPUTING}
    return Origin(made_from["settings"], made_from["seed"], made_from["inputs"], made_from["modules"], used)


def folder_of_origin(scratch: Path, origin: Origin, world: World = ALONE) -> Path:
    """Name the folder of a training's checkpoints; where it is new, say why older ones do not serve.

    Args:
        scratch: the folder of the run and seed, with one folder for each origin.
        origin: of this training.
        world: the processes of the training; the first one makes the folder.
    """
    own = scratch / origin.fingerprint
    record = own / ORIGIN
    if world.is_first and not record.exists():
        others = sorted(scratch.glob(f"*/{ORIGIN}"), key=lambda path: path.stat().st_mtime)
        if others:
            print(f"starting over: {others[-1].parent} was made with {_what_differs(others[-1], origin)}", flush=True)
        own.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(origin))
    return own


def _what_differs(record: Path, origin: Origin) -> str:
    other = read_json(record)
    found = {
        "other settings": differing(flat_settings(other["settings"]), flat_settings(origin.settings)),
        "other inputs": differing(other["inputs"], origin.inputs),
        "other code": differing(other["modules"], origin.modules),
        "other versions": differing(other["versions"], origin.versions),
    }
    return "; ".join(f"{what} ({', '.join(names)})" for what, names in found.items() if names) or "another seed"


def save(
    folder: Path,
    step: int,
    state: TrainingState,
    world: World = ALONE,
    save_shards: Callable[[Path], None] | None = None,
) -> None:
    """Write the checkpoint of a step, then drop all but the newest two.

    Args:
        folder: the run's scratch folder.
        step: the step just finished.
        state: what `load_newest` shall return; the first process writes it.
        world: the processes of the training.
        save_shards: writes what each process holds for itself into the folder that it is given.
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
        for old in finished(folder)[:-KEPT]:
            shutil.rmtree(old)


def folder_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:06d}"


def finished(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first; what has another name or layout is left alone, and the log says so."""
    whole = []
    for path in sorted(folder.glob("step-*")):
        if NAME.fullmatch(path.name) and (path / STATE).is_file():
            whole.append(path)
        elif path.suffix != ".partial":
            print(f"{path}: ignored, not a checkpoint of this program", flush=True)
    return whole


def _checksums(checkpoint: Path) -> dict[str, str]:
    """The sha256 of every file of a checkpoint but of the list itself."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    with ThreadPoolExecutor() as threads:
        return dict(zip([str(path.relative_to(checkpoint)) for path in files], threads.map(sha256, files), strict=True))


def load_newest(folder: Path, world: World = ALONE) -> tuple[int, TrainingState] | None:
    """Load the newest checkpoint that can be read: in every process the one that the first finds.

    Returns:
        The step it was made after and its state; None where there is none.
    """
    found = _newest(finished(folder)) if world.is_first else None
    if world.size == 1:
        return found
    step = world.gather(None if found is None else found[0])[0]
    if step is None or world.is_first:
        return found
    return _newest([folder_of(folder, step)])


def _newest(checkpoints: Sequence[Path]) -> tuple[int, TrainingState] | None:
    for path in reversed(checkpoints):
        try:
            _check(path)
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        except Exception as error:
            # A damaged file fails in a dozen ways; an older checkpoint serves.
            print(f"{path}: damaged, an older checkpoint is tried ({error})", flush=True)
            continue
        return int(path.name.removeprefix("step-")), state
    return None


def _check(checkpoint: Path) -> None:
    """Compare the files of a checkpoint with the checksums that were written with it."""
    changed = differing(read_json(checkpoint / CHECKSUMS), _checksums(checkpoint))
    if changed:
        raise InputError(f"not as it was written: {', '.join(changed)}")
