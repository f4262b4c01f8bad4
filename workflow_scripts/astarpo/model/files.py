"""The files of a model folder that are read, and a hash of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256
from astarpo.common.hashes import HASHES, remembered_sha256

SMALL_SUFFIXES = {".json", ".jinja", ".model", ".spm", ".tiktoken", ".txt"}
# In the order in which transformers looks for them: the first that exists is read.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")


def weight_files(folder: str | Path) -> list[Path]:
    """List the files that hold a model's weights.

    Args:
        folder: as `save_pretrained` writes it; other formats that lie beside (Mistral's ``consolidated``) are not read.

    Returns:
        One file, or every shard that an index names, present or not; none where there are no weights.
    """
    root = Path(folder)
    chosen = next((name for name in WEIGHTS if (root / name).is_file()), None)
    if chosen is None:
        return []
    if not chosen.endswith(".index.json"):
        return [root / chosen]
    try:
        index = json.loads((root / chosen).read_text(encoding="utf-8"))
        return [root / name for name in sorted(set(index["weight_map"].values()))]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # loading says what is wrong with the index


def files_of(folder: str | Path) -> list[Path]:
    """List every file that loading a model folder reads: configurations, tokenizer, templates, weights.

    Returns:
        Paths, sorted; config.json at least, whether it is there or not.
    """
    root = Path(folder)
    small = [
        path
        for path in [*root.glob("*"), *root.glob("additional_chat_templates/*")]
        if path.suffix in SMALL_SUFFIXES
        and path.is_file()
        # Snakemake's, or another tool's: transformers has no such file.
        and not path.name.endswith("manifest.json")
    ]
    adapters = [root / name for name in ADAPTERS if (root / name).is_file()]
    return sorted({root / "config.json", *small, *weight_files(root), *adapters})


def described_folder(manifest: str | Path) -> Path:
    """Find the model folder that a manifest describes, and compare every byte of it with the manifest.

    Args:
        manifest: ``manifest.json`` of a reference or of a training; the folder ``model`` lies beside it.

    Raises:
        InputError: the folder is missing, or is not what the stage left.
    """
    folder = Path(manifest).parent / "model"
    recorded = read_json(manifest)["outputs"]["model"]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; delete {manifest}, and the stage that made it runs again")
    if sha256(folder) != recorded:
        raise InputError(
            f"{folder}: its files are not those that {manifest} describes; delete the manifest, and the stage that "
            "made both runs again"
        )
    return folder


def content_of(folder: str | Path, store: str | Path = HASHES) -> str:
    """Hash what loading a model folder reads.

    Args:
        folder: a model folder.
        store: where hashes of large files are remembered, see `remembered_sha256`.

    Returns:
        64 hexadecimal digits that depend on names and contents, not on times; a missing file counts as such.
    """
    root = Path(folder)
    return _digest(
        (str(path.relative_to(root)), remembered_sha256(path, store) if path.is_file() else "")
        for path in files_of(root)
    )


def _digest(entries: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{name}\0{content}\n" for name, content in entries)
    return hashlib.sha256(text.encode()).hexdigest()
