"""How many tokens a model can read, and how many a configuration requires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object

# Names of the limit in config.json, by architecture.
POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
)


@dataclass(frozen=True)
class Length:
    """The longest text that an entry of the configuration gives to a model.

    Attributes:
        key: the entry's key in the configuration.
        prompt_tokens: ``max_prompt_tokens``, the longest prompt.
        response_tokens: ``max_new_tokens``, the longest response.
    """

    key: str
    prompt_tokens: int
    response_tokens: int


def position_limit(config: Mapping[str, object]) -> int | None:
    """Find the longest text that a model can read.

    Scaled rotary embeddings (linear, dynamic, YaRN) reach beyond ``max_position_embeddings`` if that is the length
    before scaling; the conventions are those of vLLM's ``_get_and_verify_max_len``.

    Args:
        config: contents of config.json.

    Returns:
        Tokens of prompt and response together; None if the architecture has no limit (ALiBi, state spaces).
    """
    text = config.get("text_config")
    if isinstance(text, Mapping):
        return position_limit(text)
    attention = config.get("attn_config")
    if config.get("alibi") or (isinstance(attention, Mapping) and attention.get("alibi")):
        return None
    named = [value for value in map(config.get, POSITIONS) if isinstance(value, int)]
    if not named or named[0] <= 0:
        return None
    limit = named[0]
    return max(limit, _scaled_limit(limit, config))


def _scaled_limit(limit: int, config: Mapping[str, object]) -> int:
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(rope, Mapping):
        return limit
    kind, factor = rope.get("rope_type") or rope.get("type"), rope.get("factor")
    if kind not in ("linear", "dynamic", "yarn") or not isinstance(factor, int | float):
        return limit
    return int((rope.get("original_max_position_embeddings") or limit) * factor)


def length_problem(model: str, limit: int | None, length: Length) -> str | None:
    """Describe why a length exceeds the model's limit, or return None."""
    total = length.prompt_tokens + length.response_tokens
    if limit is None or total <= limit:
        return None
    return (
        f"{length.key}: prompts of up to {length.prompt_tokens} tokens (max_prompt_tokens) with responses of up to "
        f"{length.response_tokens} (max_new_tokens) make {total}, but {model} has {limit} positions; lower either, "
        "or choose a model with more positions"
    )


def check_lengths(model: str, limit: int | None, lengths: Iterable[Length]) -> None:
    """Refuse texts that are longer than a model can read.

    Args:
        model: its name, for the message.
        limit: see `position_limit`.
        lengths: the lengths required.

    Raises:
        InputError: one line for each length beyond the limit.
    """
    problems = [length_problem(model, limit, length) for length in lengths]
    errors = [problem for problem in problems if problem is not None]
    if errors:
        raise InputError("\n".join(errors))


def check_folder(folder: str | Path, lengths: Iterable[Length]) -> None:
    """Apply `check_lengths` to a model folder, without reading its weights."""
    check_lengths(str(folder), position_limit(read_json_object(Path(folder) / "config.json")), lengths)
