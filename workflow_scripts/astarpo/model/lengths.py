"""How many tokens a model can read, and what a configuration asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.files import read_json

# What the architectures call it in config.json.
POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
)


@dataclass(frozen=True)
class Length:
    """The longest text that some part of a configuration gives to a model.

    Attributes:
        key: the part, as the configuration names it.
        prompt_tokens: ``max_prompt_tokens``, the longest prompt.
        response_tokens: ``max_new_tokens``, the longest response.
    """

    key: str
    prompt_tokens: int
    response_tokens: int


def position_limit(config: Mapping[str, object]) -> int | None:
    """Find the longest text that a model can read.

    Rotary embeddings that are stretched (linear, dynamic, YaRN) reach further than ``max_position_embeddings`` where
    that is the length before stretching; the conventions are those of vLLM's ``_get_and_verify_max_len``.

    Args:
        config: what config.json holds.

    Returns:
        Tokens of prompt and response together; None where the architecture sets no limit (ALiBi, state spaces).
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
    return max(limit, _stretched(limit, config))


def _stretched(limit: int, config: Mapping[str, object]) -> int:
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(rope, Mapping):
        return limit
    kind, factor = rope.get("rope_type") or rope.get("type"), rope.get("factor")
    if kind not in ("linear", "dynamic", "yarn") or not isinstance(factor, int | float):
        return limit
    return int((rope.get("original_max_position_embeddings") or limit) * factor)


def length_problem(model: str, limit: int | None, length: Length) -> str | None:
    """Say what is wrong with a length, or None if the model has room for it."""
    total = length.prompt_tokens + length.response_tokens
    if limit is None or total <= limit:
        return None
    return (
        f"{length.key}: prompts of up to {length.prompt_tokens} tokens (max_prompt_tokens) with responses of up to "
        f"{length.response_tokens} (max_new_tokens) make {total}, but {model} has {limit} positions; lower one of "
        "the two, or choose a model with more positions"
    )


def check_lengths(model: str, limit: int | None, lengths: Iterable[Length]) -> None:
    """Refuse texts that are longer than a model can read.

    Args:
        model: its name, for the message.
        limit: see `position_limit`.
        lengths: what is asked of it.

    Raises:
        InputError: a line for each length beyond the limit.
    """
    problems = [length_problem(model, limit, length) for length in lengths]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise InputError("\n".join(found))


def check_folder(folder: str | Path, lengths: Iterable[Length]) -> None:
    """As `check_lengths`, for a model folder and before its weights are read."""
    check_lengths(str(folder), position_limit(read_json(Path(folder) / "config.json")), lengths)
