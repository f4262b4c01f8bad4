"""What a finished training leaves in its scratch folder: hard links to its outputs, in place of its checkpoints.

Snakemake deletes the outputs of a job that had finished when Snakemake itself was killed, and starts the job again. The
links take no space as long as the outputs exist, while the checkpoints of a training take several times its model's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import sha256
from astarpo.common.provenance import read_manifest
from astarpo.training.kept_steps import FOLDER as KEPT_STEPS

FOLDER = "finished"


def keep(of_origin: Path, outputs: Mapping[str, str]) -> None:
    """Link the outputs into the scratch folder, then delete checkpoints and kept weights; logged metrics stay.

    Where the file system has no hard links, or the folder is on another one, the checkpoints stay.

    Args:
        of_origin: the folder of this training, with these settings, inputs and code.
        outputs: file or folder by name; all of them exist.
    """
    partial = of_origin / f"{FOLDER}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, path in outputs.items():
            _link(Path(path), partial / name)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        return
    shutil.rmtree(of_origin / FOLDER, ignore_errors=True)
    os.replace(partial, of_origin / FOLDER)
    for folder in (*of_origin.glob("world-*/step-*"), *of_origin.glob(f"world-*/{KEPT_STEPS}")):
        shutil.rmtree(folder)


def restore(of_origin: Path, outputs: Mapping[str, str]) -> bool:
    """Put the outputs of a training that has already finished in place.

    Args:
        of_origin: the folder of this training.
        outputs: where each file or folder is to be.

    Returns:
        Whether they are in place; false if the training has not finished or what is left of it has changed.
    """
    kept = of_origin / FOLDER
    if not kept.is_dir():
        return False
    changed = _changed(kept, outputs)
    if changed:
        print(f"starting over: {kept / changed} has changed since the training had finished", flush=True)
        shutil.rmtree(kept)
        return False
    names = sorted(outputs, key=lambda name: name == "manifest")  # last, as it says that all is there
    for name in names:
        path = Path(outputs[name])
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        _link(kept / name, path)
        for file in (path, *path.rglob("*")):
            os.utime(file)  # newer than the inputs, as what a job makes
    print("already finished: its outputs are put in place again", flush=True)
    return True


def _changed(kept: Path, outputs: Mapping[str, str]) -> str | None:
    """The name of a first output that is missing or differs from what the manifest says of it."""
    missing = next((name for name in outputs if not (kept / name).exists()), None)
    if missing is not None:
        return missing
    with contextlib.suppress(InputError):
        for name, expected in read_manifest(kept / "manifest")["outputs"].items():
            path = kept / "steps" / name.removeprefix("step-") / "model" if name.startswith("step-") else kept / name
            if not path.exists() or sha256(path) != expected:
                return str(name)
        return None
    return "manifest"


def _link(source: Path, target: Path) -> None:
    """Link a file, or all files of a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)
