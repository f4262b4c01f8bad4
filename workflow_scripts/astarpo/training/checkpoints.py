"""Checkpoints that a killed run goes on from: whole or absent, never another run's, one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from astarpo.common.errors import InputError
from astarpo.training.world import World

ALONE = World()
KEPT = 2
STATE = "state.pt"


def fingerprint(settings: str, seed: int, input_hashes: Mapping[str, str]) -> str:
    """Name a run by what it is made from, so that other settings or inputs never find its checkpoints.

    Args:
        settings: the settings JSON as received.
        seed: of the run.
        input_hashes: name -> sha256 of reference, data sets, selection and values.

    Returns:
        16 hexadecimal digits.
    """
    text = "\0".join([settings, str(seed), *(f"{name}={input_hashes[name]}" for name in sorted(input_hashes))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def only_writer(folder: Path, world: World = ALONE) -> Iterator[None]:
    """Hold a folder's lock, in the first process; a second training of the same run is refused, not mixed in.

    Raises:
        InputError: another process holds it.
    """
    if not world.is_first:
        world.wait()
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise InputError(
                f"{folder}: another process trains this run ({stream.read().strip()}); wait for it or stop it"
            ) from error
        stream.truncate(0)
        job = os.environ.get("SLURM_JOB_ID")
        stream.write(f"process {os.getpid()}" + (f", SLURM job {job}" if job else ""))
        stream.flush()
        world.wait()
        yield


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
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
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        for old in finished(folder)[:-KEPT]:
            shutil.rmtree(old)


def folder_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:06d}"


def finished(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.suffix != ".partial")


def load_newest(folder: Path, world: World = ALONE) -> tuple[int, dict[str, Any]] | None:
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


def _newest(checkpoints: Sequence[Path]) -> tuple[int, dict[str, Any]] | None:
    for path in reversed(checkpoints):
        try:
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
        except Exception as error:
            # A damaged file fails in a dozen ways; an older checkpoint serves.
            print(f"{path}: unreadable, an older checkpoint is tried ({error})", flush=True)
            continue
        return int(path.name.removeprefix("step-")), state
    return None
