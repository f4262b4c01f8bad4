"""Loading models from a local folder or from the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.utils import cached_file

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object
from astarpo.common.writing import failure
from astarpo.model.attention import SDPA, check_attention
from astarpo.model.end_tokens import end_token_ids
from astarpo.model.policy import ATTENTION_KEY, Policy, hide_progress_bars
from astarpo.model.safety import CONFIGS, IN_ITS_ENTRY, check_code, check_safe, how_to_convert

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
NOT_SAFETENSORS = "cannot be loaded with `safetensors`"  # in an error of transformers
Placed = TypeVar("Placed", bound=torch.nn.Module)


def load_policy(
    folder: str | Path,
    device: str = "cpu",
    attention: str | None = None,
    trust_remote_code: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Policy:
    """Load a local model folder, by default in fp32, the precision of the master weights.

    Args:
        folder: of the model.
        device: where to put it.
        attention: one of transformers' implementations; None: the one that `Policy.save` recorded.
        trust_remote_code: whether the model's own code may run.
        dtype: of the weights; buffers keep theirs.

    Raises:
        InputError: the folder, its model or its tokenizer is missing or unreadable, the attention is unsupported, the
            weights are pickled, or the model has code of its own that is not trusted.
    """
    _check_folder(folder, trust_remote_code)
    attention = attention or _saved_attention(folder)
    return _from_pretrained(str(Path(folder)), None, device, attention, trust_remote_code, dtype)


def _saved_attention(folder: str | Path) -> str:
    return str(read_json_object(Path(folder) / "config.json").get(ATTENTION_KEY) or SDPA)


def _check_folder(folder: str | Path, trust_remote_code: bool) -> None:
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise InputError(
            f"{folder}: not a model folder (config.json is missing); give a folder written by save_pretrained"
        )
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        # transformers would silently create an empty tokenizer of the model's type.
        raise InputError(_cannot_load("tokenizer", str(path), FileNotFoundError("its files are missing.")))
    check_safe(folder, trust_remote_code)


def load_policy_without_weights(
    folder: str | Path, attention: str | None = None, trust_remote_code: bool = False
) -> Policy:
    """Load tokenizer and configuration of a model that another engine runs; its weights stay on the meta device.

    Args:
        folder, attention, trust_remote_code: as for `load_policy`.

    Raises:
        InputError: as for `load_policy`.
    """
    _check_folder(folder, trust_remote_code)
    return _without_weights(str(Path(folder)), None, attention or _saved_attention(folder), trust_remote_code)


def load_tokenizer(folder: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder.

    Raises:
        InputError: as for `load_policy`.
    """
    _check_folder(folder, trust_remote_code)
    return _tokenizer(str(Path(folder)), None, trust_remote_code)


def hub_policy_without_weights(
    hub_id: str, revision: str | None, attention: str = SDPA, trust_remote_code: bool = False
) -> Policy:
    """As `load_policy_without_weights`, from the hub; downloads only the small files.

    Raises:
        InputError: they are unavailable, the attention is unsupported, or the model has code that is not trusted.
    """
    check_hub_code(hub_id, revision, trust_remote_code)
    return _without_weights(hub_id, revision, attention, trust_remote_code)


def check_hub_code(hub_id: str, revision: str | None, trust_remote_code: bool, setting: str = IN_ITS_ENTRY) -> None:
    """Refuse a model of the hub with code of its own, unless it is trusted; see `safety.check_code`."""
    configs = {name: _hub_config(hub_id, revision, name) for name in CONFIGS}
    check_code(hub_id, configs, trust_remote_code, setting)


def _hub_config(hub_id: str, revision: str | None, name: str) -> dict[str, Any]:
    """A JSON file of a model on the hub; empty if it cannot be had, which loading reports."""
    try:
        path = cached_file(hub_id, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        return {} if path is None else read_json_object(path)
    except (OSError, ValueError, InputError):
        return {}


def _without_weights(name: str, revision: str | None, attention: str, trust_remote_code: bool) -> Policy:
    tokenizer = _tokenizer(name, revision, trust_remote_code)
    options = _options(revision)
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
    except Exception as error:  # as in `_from_pretrained`
        raise InputError(_cannot_load("model", name, error)) from error
    check_attention(name, config, attention, trust_remote_code)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, attn_implementation=attention, trust_remote_code=trust_remote_code
            )
    except Exception as error:
        raise InputError(_cannot_load("model", name, error)) from error
    try:
        model.generation_config = GenerationConfig.from_pretrained(name, **options)
    except Exception as error:  # OSError if damaged, ValueError if inconsistent
        # A missing file also raises an OSError; transformers then derives the generation config from the config.
        if (Path(name) / "generation_config.json").is_file() or not isinstance(error, OSError):
            raise InputError(_cannot_load("generation config", name, error)) from error
    return Policy(model, tokenizer, end_token_ids(model, tokenizer), attention, trust_remote_code)


def load_hub_policy(
    hub_id: str, revision: str | None, device: str = "cpu", attention: str = SDPA, trust_remote_code: bool = False
) -> Policy:
    """Load a model from the hub by its id, in fp32.

    Raises:
        InputError: it is unavailable (wrong name, gated, no network), the attention is unsupported, the weights are
            pickled, or the model has code of its own that is not trusted.
    """
    check_hub_code(hub_id, revision, trust_remote_code)
    return _from_pretrained(hub_id, revision, device, attention, trust_remote_code)


def _from_pretrained(
    name: str,
    revision: str | None,
    device: str,
    attention: str,
    trust_remote_code: bool,
    dtype: torch.dtype = torch.float32,
) -> Policy:
    hide_progress_bars()
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(
            f"machine.device is {device!r}, but torch {torch.__version__} does not see that device: "
            "set it to cpu, or install a build of torch for this GPU"
        )
    tokenizer = _tokenizer(name, revision, trust_remote_code)
    options = _options(revision)
    # Or transformers would ask a bot of the hub for safetensors, and load those of its pull request.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
        check_attention(name, config, attention, trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            **options,
        )
    except InputError:
        raise
    except Exception as error:  # safetensors has its own exceptions
        raise InputError(_cannot_load("model", name, error)) from error
    return Policy(place(model, device), tokenizer, end_token_ids(model, tokenizer), attention, trust_remote_code)


def place(model: Placed, device: str) -> Placed:
    """Move a model to a device; on a GPU, switch cuDNN's attention off.

    cuDNN makes a plan for each new shape, and nearly every micro-batch has a new one: on an H100, passes at the shape
    of Qwen2.5-1.5B took more than twice as long. torch's other kernels need no plan.

    Args:
        model: any torch module.
        device: where to put it.

    Returns:
        The model, moved in place.
    """
    if device != "cpu":
        torch.backends.cuda.enable_cudnn_sdp(False)
    return model.to(device)


def _tokenizer(name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code, **_options(revision))
    except Exception as error:
        # Missing files, damaged files and refusals by the hub all raise different types.
        raise InputError(_cannot_load("tokenizer", name, error)) from error


def _options(revision: str | None) -> dict[str, Any]:
    return {} if revision is None else {"revision": revision}


def _cannot_load(part: str, name: str, error: Exception) -> str:
    reason = failure(error)
    if reason is not None:  # of the disk, such as that of the hub's cache
        return f"the {part} of {name!r} cannot be loaded: {reason}"
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(name).is_dir():
        way_out = {
            "tokenizer": "Put its files (tokenizer.json, tokenizer_config.json) beside config.json; they come "
            "with the model, and `tokenizer.save_pretrained(folder)` writes them.",
            "model": "Copy the folder again: config.json and every *.safetensors file must be whole.",
            "generation config": "Correct generation_config.json, or delete it: only its end tokens are used.",
        }[part]
    elif NOT_SAFETENSORS in first_line:
        first_line, way_out = "it has no safetensors files.", how_to_convert(name)
    elif part == "generation config" and isinstance(error, ValueError):
        way_out = (
            "Correct generation_config.json in a copy of the model, and give that folder: "
            "source: {kind: local, path: ...}"
        )
    else:
        way_out = (
            "Check the id and the network (HF_HUB_OFFLINE must not be set unless the model is in the cache); "
            "a gated model needs its licence accepted on the hub and a token in HF_TOKEN; without a hub, give "
            "a folder: source: {kind: local, path: ...}"
        )
    return f"the {part} of {name!r} cannot be loaded: {first_line} {way_out}"
