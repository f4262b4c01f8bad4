"""Models from scratch: a small decoder with random weights and a byte-level tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from astarpo.model.attention import SDPA, check_attention
from astarpo.model.end_tokens import end_token_ids
from astarpo.model.policy import Policy

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"


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
        whole_tokens: texts that are one token each; all others are one token per byte.
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


def byte_tokenizer(whole_tokens: Sequence[str], max_positions: int) -> PreTrainedTokenizerBase:
    """Build a tokenizer with one token per byte, so that every text can be encoded.

    Args:
        whole_tokens: texts that become one token each.
        max_positions: stored as ``model_max_length``.

    Returns:
        A transformers tokenizer, which can be saved as usual.
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
