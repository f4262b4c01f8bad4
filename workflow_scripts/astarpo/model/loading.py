"""Making and loading models: from scratch, from a local folder, from a hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, write_json
from astarpo.model.attention import SDPA, check_attention
from astarpo.model.end_tokens import end_token_ids

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
ATTENTION_KEY = "attn_implementation"  # of config.json, as transformers reads it


@dataclass(frozen=True)
class Policy:
    """A model, its tokenizer, and what ends its responses.

    Attributes:
        model: a causal language model (transformers).
        tokenizer: its tokenizer.
        end_token_ids: each id that ends a response; the first is the one that a warm start teaches.
        attention: which of transformers' implementations computes attention.
    """

    model: Any
    tokenizer: Any
    end_token_ids: list[int]
    attention: str = SDPA

    def save(self, folder: str | Path, weights: dict[str, Any] | None = None) -> None:
        """Write an ordinary model folder: weights, config, generation config, tokenizer.

        What ends a response goes into generation_config.json, and attention other than ``sdpa`` into config.json, where
        `load_policy` and transformers find them.

        Args:
            folder: to make.
            weights: by name, if not those that the model has now; tied ones may stand there once.
        """
        _without_bars()
        ends = self.end_token_ids
        self.model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)
        if self.attention != SDPA:
            path = Path(folder) / "config.json"
            write_json(path, {**read_json(path), ATTENTION_KEY: self.attention})


def load_policy(folder: str | Path, device: str = "cpu", attention: str | None = None) -> Policy:
    """Load a local model folder in fp32, the precision of the master weights.

    Args:
        folder: of the model.
        device: where to put it.
        attention: one of transformers' implementations; None: the one that `Policy.save` wrote down.

    Raises:
        InputError: the folder, its model or its tokenizer is missing or unreadable, or the attention cannot be had.
    """
    _check_folder(folder)
    return _from_pretrained(str(Path(folder)), None, device, attention or _own_attention(folder))


def _own_attention(folder: str | Path) -> str:
    return str(read_json(Path(folder) / "config.json").get(ATTENTION_KEY) or SDPA)


def _check_folder(folder: str | Path) -> None:
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise InputError(
            f"{folder}: no model folder (config.json is missing); give the path of a folder that save_pretrained wrote"
        )
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        # transformers would silently make an empty one of the model's kind.
        raise InputError(_cannot_load("tokenizer", str(path), FileNotFoundError("there is none.")))


def load_policy_without_weights(folder: str | Path, attention: str | None = None) -> Policy:
    """Load tokenizer and configuration of a model that another engine holds; its weights are on the meta device.

    Args:
        folder, attention: as for `load_policy`.

    Raises:
        InputError: config or tokenizer are missing or unreadable, or the attention cannot be had.
    """
    _check_folder(folder)
    return _without_weights(str(Path(folder)), None, attention or _own_attention(folder))


def hub_policy_without_weights(hub_id: str, revision: str | None, attention: str = SDPA) -> Policy:
    """As `load_policy_without_weights`, from a hub: its small files alone are fetched.

    Raises:
        InputError: they cannot be had, or the attention cannot be had.
    """
    return _without_weights(hub_id, revision, attention)


def _without_weights(name: str, revision: str | None, attention: str) -> Policy:
    tokenizer = _tokenizer(name, revision)
    options = _options(revision)
    try:
        config = AutoConfig.from_pretrained(name, **options)
    except Exception as error:  # as in `_from_pretrained`
        raise InputError(_cannot_load("model", name, error)) from error
    check_attention(name, config, attention)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    except Exception as error:
        raise InputError(_cannot_load("model", name, error)) from error
    try:
        model.generation_config = GenerationConfig.from_pretrained(name, **options)
    except Exception as error:  # OSError where it is damaged, ValueError where it contradicts itself
        # Without the file, transformers has made one of the config; that raises an OSError, too.
        if (Path(name) / "generation_config.json").is_file() or not isinstance(error, OSError):
            raise InputError(_cannot_load("generation config", name, error)) from error
    return Policy(model, tokenizer, end_token_ids(model, tokenizer), attention)


def load_hub_policy(hub_id: str, revision: str | None, device: str = "cpu", attention: str = SDPA) -> Policy:
    """Load a model from a hub by its id, in fp32.

    Raises:
        InputError: it cannot be had (wrong name, gated, no network), or the attention cannot be had.
    """
    return _from_pretrained(hub_id, revision, device, attention)


def _from_pretrained(name: str, revision: str | None, device: str, attention: str) -> Policy:
    _without_bars()
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(
            f"machine.device is {device!r}, but torch {torch.__version__} sees no such device: "
            "set it to cpu, or install a build of torch for this GPU"
        )
    tokenizer = _tokenizer(name, revision)
    options = _options(revision)
    try:
        config = AutoConfig.from_pretrained(name, **options)
        check_attention(name, config, attention)
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, attn_implementation=attention, **options
        )
    except InputError:
        raise
    except Exception as error:  # safetensors has errors of its own
        raise InputError(_cannot_load("model", name, error)) from error
    return Policy(place(model, device), tokenizer, end_token_ids(model, tokenizer), attention)


def place(model: Any, device: str) -> Any:
    """Put a model on a device; on a GPU, cuDNN's attention is switched off.

    cuDNN plans anew for each shape that it has not seen, and nearly every micro-batch has its own: on an H100 passes
    at the shape of Qwen2.5-1.5B took more than twice as long. torch's other kernels need no plan.

    Args:
        model: of torch.
        device: where to put it.

    Returns:
        The model, which is moved in place.
    """
    if device != "cpu":
        torch.backends.cuda.enable_cudnn_sdp(False)
    return model.to(device)


def _tokenizer(name: str, revision: str | None) -> Any:
    try:
        return AutoTokenizer.from_pretrained(name, **_options(revision))
    except Exception as error:
        # A missing file raises other kinds than a damaged one or a hub's refusal.
        raise InputError(_cannot_load("tokenizer", name, error)) from error


def _options(revision: str | None) -> dict[str, Any]:
    return {} if revision is None else {"revision": revision}


def _without_bars() -> None:
    """Transformers' own progress bars would fill the logs with carriage returns."""
    logging.disable_progress_bar()


def _cannot_load(part: str, name: str, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(name).is_dir():
        way_out = {
            "tokenizer": "Put its files (tokenizer.json, tokenizer_config.json) beside config.json; they come "
            "with the model, and `tokenizer.save_pretrained(folder)` writes them.",
            "model": "Copy the folder again: config.json and every *.safetensors file must be whole.",
            "generation config": "Correct generation_config.json, or delete it: of what it says, only the end tokens "
            "are used.",
        }[part]
    elif part == "generation config" and isinstance(error, ValueError):
        way_out = (
            "Correct generation_config.json in a copy of the model, and give that folder: "
            "source: {kind: local, path: ...}"
        )
    else:
        way_out = (
            "Check the id and the network (HF_HUB_OFFLINE must not be set, unless the model is in the cache); "
            "a gated model needs its licence accepted on the hub and a token in HF_TOKEN; without a hub, give "
            "a folder: source: {kind: local, path: ...}"
        )
    return f"the {part} of {name!r} cannot be loaded: {first_line} {way_out}"


def build_scratch_policy(
    *,
    seed: int,
    layers: int,
    hidden_size: int,
    intermediate_size: int,
    heads: int,
    kv_heads: int,
    max_positions: int,
    whole_tokens: Sequence[str],
    attention: str = SDPA,
) -> Policy:
    """Build a small decoder of the Qwen2 architecture with random weights and a byte-level tokenizer.

    Args:
        seed: of the random weights.
        layers, hidden_size, intermediate_size, heads, kv_heads: the architecture; embeddings are tied.
        max_positions: longest prompt and response together, in tokens.
        whole_tokens: texts that are one token each; all else is one token a byte.
        attention: one of transformers' implementations.
    """
    tokenizer = byte_tokenizer(whole_tokens, max_positions)
    computed: dict[str, Any] = {"attn_implementation": attention}
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=max_positions,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **computed,
    )
    check_attention("a model from scratch", config, attention)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).float()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return Policy(model, tokenizer, end_token_ids(model, tokenizer), attention)


def byte_tokenizer(whole_tokens: Sequence[str], max_positions: int) -> Any:
    """Make a tokenizer with one token a byte, so that every text can be encoded.

    Args:
        whole_tokens: texts that become one token each.
        max_positions: stored as ``model_max_length``.

    Returns:
        A transformers tokenizer that saves as an ordinary folder.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([PAD, END_OF_TEXT, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(list(whole_tokens))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        model_max_length=max_positions,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
