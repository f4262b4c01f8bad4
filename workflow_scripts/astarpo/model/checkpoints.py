"""Checkpoints to resume a killed training or warm start from: complete or absent, with checksums."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from astarpo.common.differences import differing
from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256, write_json
from astarpo.common.writing import check_space, writing
from astarpo.model.world import World

ALONE = World()
State = dict[str, Any]  # tensors, numbers and texts, nested; the caller declares the keys that it saves
KEPT = 2
STATE = "state.pt"
CHECKSUMS = "sha256.json"
NAME = re.compile(r"step-\d{6,}")


def save(
    folder: Path,
    step: int,
    state: Mapping[str, object],
    world: World = ALONE,
    save_shards: Callable[[Path], None] | None = None,
) -> None:
    """Write the checkpoint of a step, then delete all but it and the one before; while it is written there are three.

    Args:
        folder: the job's scratch folder for its origin, see `common.origins`.
        step: the step just finished.
        state: to be returned by `load_newest`; the first process writes it.
        world: the processes of the training.
        save_shards: writes each process's shards to the given folder.

    Raises:
        InputError: the disk is full, which is checked before anything is written, or not writable. Earlier checkpoints
            stay.
    """
    final = folder_of(folder, step)
    partial = final.with_name(f"{final.name}.partial")
    with writing(final, partial if world.is_first else None):
        if world.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            complete, _ = _entries(folder)
            check_space(folder, _expected_size(state, complete), f"the checkpoint of step {step}")
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
            # Those of later steps could not be read, or the training would have resumed from them.
            earlier = [path for path in _entries(folder)[0] if _step_of(path) <= step]
            for old in earlier[:-KEPT]:
                shutil.rmtree(old)


def _expected_size(state: object, earlier: Sequence[Path]) -> int:
    """Bytes of a checkpoint: those of its tensors, or of the newest one before it, which has the shards as well."""
    newest = sum(path.stat().st_size for path in earlier[-1].rglob("*") if path.is_file()) if earlier else 0
    return max(_tensor_bytes(state), newest)


def _tensor_bytes(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return sum(map(_tensor_bytes, items))


def folder_of(folder: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return folder / f"step-{step:06d}"


def folder_of_world(of_origin: Path, world: World = ALONE) -> Path:
    """Make the folder for checkpoints by this number of processes; if it has none, print which others cannot be used.

    Shards fit only the number of processes that wrote them.

    Args:
        of_origin: the folder of all checkpoints with one origin.
        world: the processes of this training.
    """
    folder = of_origin / f"world-{world.size}"
    if world.is_first and newest_folder(folder) is None:
        of_others = map(newest_folder, sorted(of_origin.glob("world-*")))
        for newest in filter(None, of_others):
            size = newest.parent.name.removeprefix("world-")
            print(
                f"starting over: {newest} was written by {size} processes, and this training has {world.size}; "
                f"to go on from it, set machine.devices (times nodes) to {size}",
                flush=True,
            )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def newest_folder(folder: Path) -> Path | None:
    """The newest complete checkpoint; None if there is none."""
    complete, _ = _entries(folder)
    return complete[-1] if complete else None


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


def load_newest(folder: Path, world: World = ALONE) -> tuple[int, State] | None:
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


def _newest(checkpoints: Sequence[Path]) -> tuple[int, State] | None:
    for path in reversed(checkpoints):
        try:
            _check(path)
            state = _load(path)
        except Exception as error:
            # Damaged files raise many kinds of errors; an older checkpoint may be readable.
            print(f"{path}: damaged, trying an older checkpoint ({error})", flush=True)
            continue
        return _step_of(path), state
    return None


def _load(checkpoint: Path) -> State:
    state: State = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    return state


def _check(checkpoint: Path) -> None:
    """Verify a checkpoint's checksums."""
    changed = differing(read_json(checkpoint / CHECKSUMS), _checksums(checkpoint))
    if changed:
        raise InputError(f"changed since it was written: {', '.join(changed)}")
