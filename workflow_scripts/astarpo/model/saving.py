"""Whether a model can be written down again, found out before anything is paid for."""

from __future__ import annotations

import tempfile

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from astarpo.common.errors import InputError


def repair_generation_config(model: PreTrainedModel) -> str | None:
    """Change a generation config that transformers reads but refuses to write.

    Nothing here draws by it but for the tokens that it names: sampling has settings of its own.

    Args:
        model: changed in place; ``temperature`` with ``do_sample: false`` is the usual fault.

    Returns:
        What was wrong and what was done, for the log; None if nothing was wrong.
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
    """Write everything but the weights into a folder that is thrown away.

    Raises:
        InputError: transformers refuses to.
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in (model.config, model.generation_config, tokenizer):
            try:
                part.save_pretrained(folder)
            except Exception as error:
                said = " ".join((str(error).strip() or type(error).__name__).split())
                raise InputError(
                    f"transformers does not save {type(part).__name__} as it was loaded: {said}; correct the file "
                    "that it comes from in a copy of the model, and give that folder: source: {kind: local, path: ...}"
                ) from error
