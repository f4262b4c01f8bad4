"""From problems to prompt tokens, shared by sampling, training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from astarpo.data.settings import PromptSettings

PROBE = "a"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> Mapping[str, list[int]]:
        """Encode a text; ``input_ids`` are its tokens."""
        ...

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> object:
        """Render the messages of a chat; returns text unless ``tokenize`` is set."""
        ...


@dataclass(frozen=True)
class EncodedPrompts:
    """Prompts as token ids, and the ids of those that were too long.

    Attributes:
        prompt_ids: stable ids, in the order given.
        token_ids: one list of token ids per prompt.
        too_long: ids of prompts with more than ``max_prompt_tokens`` tokens.
    """

    prompt_ids: list[str]
    token_ids: list[list[int]]
    too_long: list[str]


def render(template: str, problem: str) -> str:
    """Put a problem into a text template at ``{problem}``; other braces stay as they are."""
    return template.replace("{problem}", problem)


def encode_prompts(
    tokenizer: Tokenizer, prompt_ids: Sequence[str], prompts: Sequence[str], settings: PromptSettings
) -> EncodedPrompts:
    """Encode prompts with a tokenizer, through its chat template if the settings say so.

    Without a chat template the tokenizer adds its leading special tokens (BOS). Trailing ones are removed, because
    the response must continue the prompt.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt_ids: P stable ids.
        prompts: P rendered prompts.
        settings: chat template, system prompt and the maximum prompt length.

    Returns:
        Token ids of the prompts that fit, and the ids of those that do not.
    """
    kept_ids, kept_tokens, too_long = [], [], []
    appended = 0 if settings.chat_template else len(appended_tokens(tokenizer))
    for prompt_id, prompt in zip(prompt_ids, prompts, strict=True):
        tokens = _encode(tokenizer, prompt, settings)
        tokens = tokens[: len(tokens) - appended]
        if len(tokens) > settings.max_prompt_tokens:
            too_long.append(prompt_id)
        else:
            kept_ids.append(prompt_id)
            kept_tokens.append(tokens)
    return EncodedPrompts(kept_ids, kept_tokens, too_long)


def appended_tokens(tokenizer: Tokenizer) -> list[int]:
    """Find the special tokens that a tokenizer appends to every text, such as ``</s>`` with ``add_eos_token``.

    Args:
        tokenizer: a Hugging Face tokenizer.

    Returns:
        Their ids; usually none.
    """
    bare = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    whole = list(tokenizer(PROBE, add_special_tokens=True)["input_ids"])
    starts = range(len(whole) - len(bare) + 1 if bare else 0)
    first = next((start for start in starts if whole[start : start + len(bare)] == bare), None)
    return [] if first is None else whole[first + len(bare) :]


def _encode(tokenizer: Tokenizer, prompt: str, settings: PromptSettings) -> list[int]:
    if not settings.chat_template:
        return list(tokenizer(prompt, add_special_tokens=True)["input_ids"])
    messages = [{"role": "user", "content": prompt}]
    if settings.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": settings.system_prompt})
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    # The template writes its own special tokens, so the tokenizer must not add a second BOS.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
