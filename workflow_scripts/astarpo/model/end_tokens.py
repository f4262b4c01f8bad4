"""Which tokens end a response: what generation config, tokenizer and chat template say, taken together."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from astarpo.common.errors import InputError


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, first: int | None = None) -> list[int]:
    """Collect each id that ends a response: the generation config's and the tokenizer's.

    Args:
        model: its generation config counts, and its vocabulary, as ids beyond it can never be drawn.
        tokenizer: its end token counts.
        first: a further one, put before the others.

    Returns:
        Different ids, in that order.

    Raises:
        InputError: there is none, so that no response would ever end.
    """
    size = vocabulary_size(model)
    named = _named(model, tokenizer, first)
    found = [token for token in named if 0 <= token < size]
    if found:
        return found
    beyond = f" ({', '.join(map(str, named))} is beyond its {size} tokens)" if named else ""
    raise InputError(
        f"the model has no end token{beyond}, so that its responses would never end: set eos_token_id in its "
        "generation_config.json, or an eos_token in its tokenizer"
    )


def describe_end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Say what ends a response, id and text of each, and which ids were named in vain."""
    shown = ", ".join(f"{token} {tokenizer.convert_ids_to_tokens(token)!r}" for token in ids)
    beyond = [token for token in _named(model, tokenizer, None) if token not in ids]
    vain = f"; {', '.join(map(str, beyond))} cannot be drawn (beyond the vocabulary)"
    return f"a response ends with {shown}{vain if beyond else ''}"


def vocabulary_size(model: PreTrainedModel) -> int:
    """Number of tokens that a model gives a logit to."""
    head = model.get_output_embeddings()
    return int(model.config.get_text_config().vocab_size if head is None else head.weight.shape[0])


def tokenizer_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The tokenizer's end token; None if it has none, or one that it does not know itself."""
    token = tokenizer.eos_token_id
    unknown = token == tokenizer.unk_token_id and tokenizer.eos_token != tokenizer.unk_token
    return None if token is None or unknown else int(token)


def _named(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, first: int | None) -> list[int]:
    """Every id that is named as an end token, whether it can be drawn or not."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list | tuple) else [own]
    named = [first, *listed, tokenizer_end(tokenizer)]
    return list(dict.fromkeys(int(token) for token in named if token is not None))
