"""Checks, before any expensive work, that a model can be saved."""

from __future__ import annotations

import tempfile

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from astarpo.common.errors import InputError
from astarpo.common.writing import writing


def repair_generation_config(model: PreTrainedModel) -> str | None:
    """Repair a generation config that transformers reads but refuses to save.

    Only its special tokens are used here; sampling has its own settings.

    Args:
        model: changed in place; ``temperature`` with ``do_sample: false`` is the usual fault.

    Returns:
        The problem and the repair, for the log; None if there was no problem.
    """
    problem = _refusal(model.generation_config)
    if problem is None:
        return None
    before = model.generation_config.do_sample
    model.generation_config.do_sample = True
    if _refusal(model.generation_config) is None:
        return f"generation_config.json: {problem}; do_sample is now true"
    model.generation_config.do_sample = before
    model.generation_config = _tokens_only(model.generation_config)
    return f"generation_config.json: {problem}; only its special tokens are kept"


def _refusal(config: GenerationConfig) -> str | None:
    try:
        config.validate(strict=True)
    except ValueError as error:
        return " ".join(str(error).split()).rstrip(".")
    return None


def _tokens_only(config: GenerationConfig) -> GenerationConfig:
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    return GenerationConfig(**{name: getattr(config, name, None) for name in names})


def check_can_save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Save everything but the weights to a temporary folder.

    Raises:
        InputError: transformers refuses, or the temporary folder cannot be written to.
    """
    with tempfile.TemporaryDirectory() as folder:
        for item in (model.config, model.generation_config, tokenizer):
            try:
                with writing(folder):
                    item.save_pretrained(folder)
            except InputError:  # a full disk says nothing of the model
                raise
            except Exception as error:
                message = " ".join((str(error).strip() or type(error).__name__).split())
                raise InputError(
                    f"transformers does not save {type(item).__name__} as it was loaded: {message}; correct its "
                    "file in a copy of the model, and give that folder: source: {kind: local, path: ...}"
                ) from error
