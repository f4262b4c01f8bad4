"""Making and loading models: from scratch, from a local folder, from a hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astarpo.errors import InputError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"


@dataclass(frozen=True)
class Policy:
    """A model with what is needed to talk to it.

    Attributes:
        model: a causal language model (transformers).
        tokenizer: its tokenizer.
        end_token_ids: each id of the generation config that ends a response.
    """

    model: Any
    tokenizer: Any
    end_token_ids: list[int]

    def save(self, folder: str | Path, weights: dict[str, Any] | None = None) -> None:
        """Write an ordinary model folder: weights, config, generation config, tokenizer.

        Args:
            folder: to make.
            weights: by name, if not those that the model has now; tied ones may stand there once.
        """
        _without_bars()
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)


def load_policy(folder: str | Path, device: str = "cpu") -> Policy:
    """Load a local model folder in fp32, the precision of the master weights.

    Raises:
        InputError: the folder, its model or its tokenizer is missing or unreadable.
    """
    _check_folder(folder)
    return _from_pretrained(str(Path(folder)), None, device)


def _check_folder(folder: str | Path) -> None:
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise InputError(
            f"{folder}: no model folder (config.json is missing); "
            "give the path of a folder that save_pretrained wrote"
        )
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        # transformers would make an empty one, of the model's kind, without a word.
        raise InputError(_cannot_load("tokenizer", str(path), FileNotFoundError("there is none.")))


def load_policy_without_weights(folder: str | Path) -> Policy:
    """Load what is needed to talk to a model that another engine holds; its weights are on the meta device.

    Raises:
        InputError: config or tokenizer are missing or unreadable.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    _check_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        config = AutoConfig.from_pretrained(str(folder))
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        if (Path(folder) / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(str(folder))
    except Exception as error:  # as in `_from_pretrained`
        raise InputError(_cannot_load("model", str(folder), error)) from error
    return Policy(model, tokenizer, end_token_ids(model, tokenizer))


def load_hub_policy(hub_id: str, revision: str | None, device: str = "cpu") -> Policy:
    """Load a model from a hub by its id, in fp32.

    Raises:
        InputError: it cannot be had (wrong name, gated, no network).
    """
    return _from_pretrained(hub_id, revision, device)


def _from_pretrained(name: str, revision: str | None, device: str) -> Policy:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _without_bars()
    options: dict[str, Any] = {} if revision is None else {"revision": revision}
    if device != "cpu" and not torch.cuda.is_available():
        raise InputError(
            f"machine.device is {device!r}, but torch {torch.__version__} sees no such device: "
            "set it to cpu, or install a build of torch for this GPU"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    except Exception as error:
        # A missing file raises other kinds than a damaged one or a hub's refusal.
        raise InputError(_cannot_load("tokenizer", name, error)) from error
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, attn_implementation="sdpa", **options
        )
    except Exception as error:  # safetensors has errors of its own
        raise InputError(_cannot_load("model", name, error)) from error
    placed: Any = model.to(device)  # type: ignore[arg-type]
    return Policy(placed, tokenizer, end_token_ids(model, tokenizer))


def _without_bars() -> None:
    """Transformers' own progress bars would fill the logs with carriage returns."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _cannot_load(part: str, name: str, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(name).is_dir():
        way_out = {
            "tokenizer": "Put its files (tokenizer.json, tokenizer_config.json) beside config.json; they come "
            "with the model, and `tokenizer.save_pretrained(folder)` writes them.",
            "model": "Copy the folder again: config.json and every *.safetensors file must be whole.",
        }[part]
    else:
        way_out = (
            "Check the id and the network (HF_HUB_OFFLINE must not be set, unless the model is in the cache); "
            "a gated model needs its licence accepted on the hub and a token in HF_TOKEN; without a hub, give "
            "a folder: source: {kind: local, path: ...}"
        )
    return f"the {part} of {name!r} cannot be loaded: {first_line} {way_out}"


def end_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Each id that ends a response: the generation config's, else the tokenizer's.

    Raises:
        InputError: neither names an end token.
    """
    found = model.generation_config.eos_token_id
    found = tokenizer.eos_token_id if found is None else found
    if found is None:
        raise InputError(
            "the model has no end token: set eos_token_id in its generation_config.json, "
            "or an eos_token in its tokenizer"
        )
    return [int(found)] if isinstance(found, int) else [int(token) for token in found]


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
) -> Policy:
    """Build a small decoder of the Qwen2 architecture with random weights and a byte-level tokenizer.

    Args:
        seed: of the random weights.
        layers, hidden_size, intermediate_size, heads, kv_heads: the architecture; embeddings are tied.
        max_positions: longest prompt and response together, in tokens.
        whole_tokens: texts that are one token each; all else is one token a byte.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = byte_tokenizer(whole_tokens, max_positions)
    config = Qwen2Config(
        vocab_size=len(tokenizer), num_hidden_layers=layers, hidden_size=hidden_size,
        intermediate_size=intermediate_size, num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=max_positions, tie_word_embeddings=True, attention_dropout=0.0,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).float()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return Policy(model, tokenizer, end_token_ids(model, tokenizer))


def byte_tokenizer(whole_tokens: Sequence[str], max_positions: int) -> Any:
    """Make a tokenizer with one token a byte, so that every text can be encoded.

    Args:
        whole_tokens: texts that become one token each.
        max_positions: stored as ``model_max_length``.

    Returns:
        A transformers tokenizer that saves as an ordinary folder.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([PAD, END_OF_TEXT, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(list(whole_tokens))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=PAD,
        model_max_length=max_positions, clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip
