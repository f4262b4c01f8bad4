"""The tokens that end a response, from generation config, tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from astarpo.common.errors import InputError
from astarpo.model.sharding import shape_of


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, first: int | None = None) -> list[int]:
    """Collect the ids that end a response: the generation config's and the tokenizer's.

    Args:
        model: provides the generation config, and the vocabulary: ids beyond it can never be sampled.
        tokenizer: provides its end token.
        first: another id, put before the others.

    Returns:
        Unique ids, in that order.

    Raises:
        InputError: there is none, so no response would ever end.
    """
    size = vocabulary_size(model)
    named = _named(model, tokenizer, first)
    known = [token for token in named if 0 <= token < size]
    if known:
        return known
    beyond = f" ({', '.join(map(str, named))} is beyond its {size} tokens)" if named else ""
    raise InputError(
        f"the model has no end token{beyond}, so its responses would never end: set eos_token_id in its "
        "generation_config.json, or an eos_token in its tokenizer"
    )


def tokens_of_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Return the token of each text that ends a response.

    Args:
        tokenizer: of the model.
        texts: each must be one token.

    Raises:
        InputError: a text is several tokens, so no single token could end a response with it.
    """
    ids = []
    for text in texts:
        tokens = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if len(tokens) != 1:
            shown = tokenizer.convert_ids_to_tokens(tokens)
            raise InputError(
                f"end_texts: {text!r} must be one token of the tokenizer, but is {len(tokens)}: {shown}; choose another"
            )
        ids.append(int(tokens[0]))
    return ids


def describe_end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Describe the end tokens, id and text of each, and the ids that were ignored."""
    shown = ", ".join(f"{token} {tokenizer.convert_ids_to_tokens(token)!r}" for token in ids)
    beyond = [token for token in _named(model, tokenizer, None) if token not in ids]
    ignored = f"; ignored, because beyond the vocabulary: {', '.join(map(str, beyond))}"
    return f"a response ends with {shown}{ignored if beyond else ''}"


def vocabulary_size(model: PreTrainedModel) -> int:
    """Number of tokens that a model computes logits for."""
    head = model.get_output_embeddings()
    return int(model.config.get_text_config().vocab_size if head is None else shape_of(head.weight)[0])


def tokenizer_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The tokenizer's end token; None if it has none, or one that is not in its vocabulary."""
    token = tokenizer.eos_token_id
    unknown = token == tokenizer.unk_token_id and tokenizer.eos_token != tokenizer.unk_token
    return None if token is None or unknown else int(token)


def _named(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, first: int | None) -> list[int]:
    """Every id named as an end token, whether or not it can be sampled."""
    eos = model.generation_config.eos_token_id
    listed = eos if isinstance(eos, list | tuple) else [eos]
    named = [first, *listed, tokenizer_end(tokenizer)]
    return list(dict.fromkeys(int(token) for token in named if token is not None))
