"""The files of a model folder that loading reads, and a hash of their contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import sha256
from astarpo.common.hashes import HASHES, remembered_sha256
from astarpo.common.provenance import read_manifest
from astarpo.model.safety import SAFE_WEIGHTS, code_of_folder

SMALL_SUFFIXES = {".json", ".jinja", ".model", ".spm", ".tiktoken", ".txt"}
ADAPTERS = "adapter_model.safetensors"


def weight_files(folder: str | Path) -> list[Path]:
    """List the files that hold a model's weights.

    Args:
        folder: as written by `save_pretrained`; other formats in it (pickled, Mistral's ``consolidated``) are ignored.

    Returns:
        One file, or every shard named in an index, present or not; empty if there are no weights.
    """
    root = Path(folder)
    # In the order in which transformers tries them; the first that exists is read.
    chosen = next((name for name in SAFE_WEIGHTS if (root / name).is_file()), None)
    if chosen is None:
        return []
    if not chosen.endswith(".index.json"):
        return [root / chosen]
    try:
        index = json.loads((root / chosen).read_text(encoding="utf-8"))
        return [root / name for name in sorted(set(index["weight_map"].values()))]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # loading says what is wrong with the index


def files_of(folder: str | Path, gguf_file: str | None = None) -> list[Path]:
    """List every file that loading a model folder reads: configurations, tokenizer, templates, weights, code.

    Args:
        folder: a model folder.
        gguf_file: the one file of it that is read; None: the usual ones.

    Returns:
        Paths, sorted; always includes config.json or the GGUF file, even if it is missing.
    """
    root = Path(folder)
    if gguf_file is not None:
        return [root / gguf_file]
    small = [
        path
        for path in [*root.glob("*"), *root.glob("additional_chat_templates/*")]
        if path.suffix in SMALL_SUFFIXES
        and path.is_file()
        # Written by Snakemake or another tool, not by transformers.
        and not path.name.endswith("manifest.json")
    ]
    adapters = [root / ADAPTERS] if (root / ADAPTERS).is_file() else []
    return sorted({root / "config.json", *small, *weight_files(root), *adapters, *code_of_folder(root)})


def described_folder(manifest: str | Path) -> Path:
    """Find the model folder that a manifest describes, and verify its checksum.

    Args:
        manifest: ``manifest.json`` of a reference or a training, next to the folder ``model``.

    Raises:
        InputError: the folder is missing, or differs from what the stage wrote.
    """
    folder = Path(manifest).parent / "model"
    recorded = read_manifest(manifest)["outputs"].get("model")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; delete {manifest}, and the stage that wrote it runs again")
    if sha256(folder) != recorded:
        raise InputError(
            f"{folder}: its files are not those that {manifest} describes; delete the manifest, and the stage that "
            "wrote both runs again"
        )
    return folder


def trusts_remote_code(manifest: str | Path) -> bool:
    """Whether the reference that a model comes from may run code of its own, as the model's manifest records it."""
    return read_manifest(manifest).get("trust_remote_code") is True


def content_of(folder: str | Path, store: str | Path = HASHES, gguf_file: str | None = None) -> str:
    """Hash the files that loading a model folder reads.

    Args:
        folder, gguf_file: see `files_of`.
        store: cache of the hashes of large files, see `remembered_sha256`.

    Returns:
        64 hexadecimal digits that depend on names and contents, not on times, and on which files are missing.
    """
    root = Path(folder)
    return _digest(
        (str(path.relative_to(root)), remembered_sha256(path, store) if path.is_file() else "")
        for path in files_of(root, gguf_file)
    )


def _digest(entries: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{name}\0{content}\n" for name, content in entries)
    return hashlib.sha256(text.encode()).hexdigest()
