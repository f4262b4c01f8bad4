"""Refusing models that run code of their own when they are loaded: Python files beside them, and pickled weights."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from astarpo.common.errors import InputError
from astarpo.common.files import read_json

# The files in which `auto_map` names code that transformers would import.
CONFIGS = ("config.json", "tokenizer_config.json")
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
IN_ITS_ENTRY = "trust_remote_code under `source` of the reference"


def check_safe(folder: str | Path, trust_remote_code: bool, setting: str = IN_ITS_ENTRY) -> None:
    """Refuse a model folder with code of its own, unless it is trusted, and one with pickled weights.

    Args:
        folder: a model folder.
        trust_remote_code: whether its code may run.
        setting: the key that allows it, for the message.

    Raises:
        InputError: it has code that is not trusted, or weights that are not in safetensors files.
    """
    configs = {name: _read_config(Path(folder) / name) for name in CONFIGS}
    check_code(str(folder), configs, trust_remote_code, setting)
    pickled = _pickled_weights(Path(folder), configs["config.json"])
    if pickled is not None:
        raise InputError(f"{folder}: {pickled} {how_to_convert(str(folder))}")


def check_code(
    model: str, configs: Mapping[str, Mapping[str, Any]], trust_remote_code: bool, setting: str = IN_ITS_ENTRY
) -> None:
    """Refuse a model with code of its own, unless it is trusted.

    Even if transformers has a class for its architecture, the model may have been trained with another one.

    Args:
        model: its folder or id, for the message.
        configs: file name -> contents, of those of `CONFIGS` that it has.
        trust_remote_code: whether its code may run.
        setting: the key that allows it, for the message.

    Raises:
        InputError: it has code that is not trusted.
    """
    for name, config in configs.items():
        files = code_files(config)
        if files and not trust_remote_code:
            raise InputError(
                f"{model}: {name} names code of the model's own ({', '.join(files)}), which was not run: read it, then "
                f"allow it by {setting}: true, or remove auto_map from {name} in a copy of the model, to load it with "
                "the classes of transformers"
            )


def code_files(config: Mapping[str, Any]) -> list[str]:
    """List the Python files that a configuration's ``auto_map`` names, sorted; ``repository--file.py`` if elsewhere."""
    named = config.get("auto_map")
    entries = named.values() if isinstance(named, Mapping) else named if isinstance(named, list) else []
    flat = [one for entry in entries for one in (entry if isinstance(entry, list) else [entry])]
    return sorted({f"{one.rpartition('.')[0]}.py" for one in flat if isinstance(one, str)})


def code_of_folder(folder: str | Path) -> list[Path]:
    """List the Python files of a model folder that has code of its own; it may import any of them."""
    root = Path(folder)
    has_code = any(code_files(_read_config(root / name)) for name in CONFIGS)
    return sorted(root.glob("*.py")) if has_code else []


def how_to_convert(model: str) -> str:
    """Say how pickled weights become safetensors, in one line."""
    new = f"{Path(model).name}-safetensors"
    code = (
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
        f'M.from_pretrained({json.dumps(model)}, dtype="auto").save_pretrained({json.dumps(new)}); '
        f"T.from_pretrained({json.dumps(model)}).save_pretrained({json.dumps(new)})"
    )
    return (
        "Reading pickled weights can run any code. Convert them where that does no harm, then give the new folder, "
        f"source: {{kind: local, path: {new}}}. The command: python -c {shlex.quote(code)}"
    )


def _read_config(path: Path) -> Mapping[str, Any]:
    """The contents of a JSON object; empty if there is none, which loading reports."""
    try:
        config = read_json(path)
    except InputError:
        return {}
    return config if isinstance(config, dict) else {}


def _pickled_weights(root: Path, config: Mapping[str, Any]) -> str | None:
    """Find weights that transformers or vLLM would unpickle, and say which they are."""
    explicit = config.get("transformers_weights")
    if isinstance(explicit, str) and _first_unsafe([explicit.removesuffix(".index.json")]):
        return f"config.json names weights that are not safetensors, {explicit}."
    index = _read_config(root / SAFE_WEIGHTS[1]).get("weight_map")
    shards = index.values() if isinstance(index, dict) else []
    if unsafe := _first_unsafe(str(shard) for shard in shards):
        return f"{SAFE_WEIGHTS[1]} names weights that are not safetensors, {unsafe}."
    if (root / "adapter_model.bin").is_file() and not (root / "adapter_model.safetensors").is_file():
        return "the weights of its adapters are pickled, adapter_model.bin."
    others = sorted(path.name for path in root.glob("*") if path.suffix in PICKLED)
    if others and not any((root / name).is_file() for name in SAFE_WEIGHTS) and not list(root.glob("*.gguf")):
        weights = [name for name in others if name.startswith("pytorch_model")]
        return f"its weights are pickled, {(weights or others)[0]}."
    return None


def _first_unsafe(names: Iterable[str]) -> str | None:
    return next((name for name in names if not name.endswith(".safetensors")), None)
