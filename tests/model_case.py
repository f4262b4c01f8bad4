"""Small models of real architectures, as ordinary folders with a tokenizer of one token a byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from astarpo.model.scratch import byte_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(*special: str, template: str | None = None, positions: int = 64) -> Any:
    """A byte tokenizer with further special tokens."""
    made = byte_tokenizer(["\\boxed{"], positions)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    made.chat_template = template
    return made


def llama(vocabulary: int, positions: int = 64, **more: Any) -> Any:
    """A Llama with rotary positions."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        **more,
    )
    return _seeded(LlamaForCausalLM, config)


def gpt2(vocabulary: int, positions: int = 64) -> Any:
    """A GPT-2, whose positions are a table."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _seeded(GPT2LMHeadModel, config)


def gemma2(vocabulary: int, cap: float | None = 0.5) -> Any:
    """A Gemma 2 whose attention scores are capped, so low that the cap shows in small models."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        query_pre_attn_scalar=1,
        sliding_window=8,
        max_position_embeddings=64,
        attn_logit_softcapping=cap,
        final_logit_softcapping=30.0,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _seeded(Gemma2ForCausalLM, config, attn_implementation="eager")


def _seeded(kind: Any, config: Any, **more: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind._from_config(config, **more).float().eval()


def folder(path: Path, model: Any, made: Any, **generation: Any) -> str:
    """Write a model with its tokenizer; what is in ``generation`` goes into its generation config unchecked."""
    import json

    model.save_pretrained(path)
    made.save_pretrained(path)
    if generation:
        file = path / "generation_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **generation}))
    return str(path)
