"""What passes keep, against autograd's own list of saved tensors, and logits against torch's count of allocations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from astarpo.memory import logits
from astarpo.memory.activations import Kind, kept, kept_of_layer, scores_of_layer
from astarpo.memory.shape import ModelShape
from astarpo.model import chunked_log_probs
from astarpo.model.log_probs import collate
from astarpo.model.shared_prefix import read_prefix
from astarpo.training.model_setup import recompute_activations, recomputing

# Widths that differ, so that no two terms of the formula can be mistaken for one another.
SIZES = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 160,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
}
ROWS, LENGTH = 2, 96
FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def model_of(family: str, layers: int, kind: Kind, attention: str = "sdpa") -> Any:
    config, model = FAMILIES[family]
    made = model._from_config(config(**SIZES, num_hidden_layers=layers), attn_implementation=attention)
    return made.bfloat16() if kind == "bfloat16" else made.float()


def saved_bytes(model: Any, kind: Kind, read: Any = None, ids_BS: Any = None) -> int:
    """Bytes of the tensors that autograd keeps in a pass through the body, and of its result; weights do not count."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage  # kept alive, so that no address is used twice
        return tensor

    if read is None:
        ids_BS = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % SIZES["vocab_size"]
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor), recomputing(model):
        whole = model.base_model(input_ids=ids_BS, use_cache=False).last_hidden_state if read is None else None
        hidden_BSH = read(ids_BS) if whole is None else whole
    save(hidden_BSH)  # it exists until the head has read it
    return sum(storage.nbytes() for storage in storages.values())


def bytes_of_one_layer(family: str, kind: Kind, attention: str = "sdpa") -> float:
    """What a second layer adds, for each token."""
    two, one = (saved_bytes(model_of(family, layers, kind, attention), kind) for layers in (2, 1))
    return (two - one) / (ROWS * LENGTH)


def shape_of(family: str, attention: str = "sdpa", layers: int = 2) -> ModelShape:
    config = FAMILIES[family][0](**SIZES, num_hidden_layers=layers).to_dict()
    shape = ModelShape.of({**config, "attn_implementation": attention})
    assert shape is not None
    return shape


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_keeps_what_autograd_saves(family: str, kind: Kind) -> None:
    assert bytes_of_one_layer(family, kind) == kept_of_layer(shape_of(family), kind)


def test_the_formula_by_hand() -> None:
    # Norms: input, normalised, read, twice 48 x 3 numbers; attention: 2 x 96 + 2 x 32; MLP: 4 x 160; all in fp32. And
    # 6 heads' log-sums, and two norms' roots.
    by_hand = 4 * (2 * 3 * 48 + 2 * 96 + 2 * 32 + 4 * 160) + 4 * 6 + 4 * 2
    assert by_hand == 4768
    assert kept_of_layer(shape_of("llama"), "float32") == by_hand
    # LoRA freezes the norms, whose normalised inputs are then not kept.
    assert kept_of_layer(shape_of("llama"), "float32", frozen=True) == by_hand - 2 * 48 * 4


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_eager_attention_keeps_scores(kind: Kind) -> None:
    without = bytes_of_one_layer("llama", kind)
    scores = bytes_of_one_layer("llama", kind, "eager")
    shape = shape_of("llama", "eager")
    assert scores_of_layer(shape, kind, LENGTH) >= 6 * LENGTH * 4
    assert kept_of_layer(shape, kind) + scores_of_layer(shape, kind, LENGTH) == pytest.approx(scores, rel=0.15)
    assert scores > without


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_recomputed_layers_keep_their_inputs(kind: Kind) -> None:
    model = model_of("llama", 2, kind)
    recompute_activations(model)
    expected = kept(shape_of("llama"), kind, ROWS, LENGTH, checkpointing=True)
    assert saved_bytes(model, kind) == pytest.approx(expected, rel=0.03)
    assert saved_bytes(model_of("llama", 2, kind), kind) > 5 * expected


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_shared_beginning_is_kept_once(kind: Kind) -> None:
    model, rows, shared = model_of("llama", 2, kind), 6, 64

    def read(ids_BS: torch.Tensor) -> torch.Tensor:
        cache = read_prefix(model, ids_BS[0, :shared], rows)
        hidden_BSH = model.base_model(input_ids=ids_BS[:, shared:], past_key_values=cache, use_cache=True)
        return hidden_BSH.last_hidden_state

    saved = saved_bytes(model, kind, read, torch.ones((rows, LENGTH), dtype=torch.long))
    shape = shape_of("llama")
    assert kept(shape, kind, rows, LENGTH, shared=shared) == pytest.approx(saved, rel=0.15)
    assert kept(shape, kind, rows, LENGTH) > 1.5 * saved


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_keep_what_attention_returns_twice(family: str, kind: Kind) -> None:
    """With padding and without; q, k, v and the log-sums are kept with padding alone: 3 x 60 places of 120 tokens."""
    packed = collate([[2] * 50, [2] * 30, [2] * 20], [[3] * 10, [4] * 5, [5] * 5], [1], packed=True).packed
    assert packed is not None and packed.tokens == 120
    two, one = (
        saved_bytes(
            model, kind, lambda _, model=model: model.base_model(**packed.inputs(model, False)).last_hidden_state
        )
        for model in (model_of(family, layers, kind) for layers in (2, 1))
    )
    shape = shape_of(family)
    attention = 2 * (96 + 32) * (4 if kind == "float32" else 2) + 4 * 6
    assert two - one == 120 * kept_of_layer(shape, kind, packed=True) + (180 - 120) * attention
    # 2 or 4 bytes for each of 96 numbers, which is several percent of what such narrow layers keep.
    assert kept_of_layer(shape, kind, packed=True) - kept_of_layer(shape, kind) == 96 * (4 if kind == "float32" else 2)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_beginning_that_is_laid_before_the_rests_is_kept_once(kind: Kind) -> None:
    model, rows, shared = model_of("llama", 2, kind), 6, 64
    prompts, responses = [[2] * shared + [3] * 2] * rows, [[4 + row] * (LENGTH - shared - 2) for row in range(rows)]
    packed = collate(prompts, responses, [1], shared=True).packed
    assert packed is not None and packed.tokens == 65 + rows * (LENGTH - 65)
    saved = saved_bytes(model, kind, lambda _: model.base_model(**packed.inputs(model, False)).last_hidden_state)
    shape = shape_of("llama")
    assert kept(shape, kind, rows, LENGTH, shared=65, packed=True) == pytest.approx(saved, rel=0.15)
    assert kept(shape, kind, rows, LENGTH) > 1.5 * saved


def test_the_limit_of_logits_at_once_is_the_one_of_the_passes() -> None:
    assert logits.SMALL_LOGITS == chunked_log_probs.SMALL_LOGITS


def test_chunks_bound_the_logits() -> None:
    shape = ModelShape.of({**SIZES, "num_hidden_layers": 2, "vocab_size": 50_000, "tie_word_embeddings": True})
    assert shape is not None
    # 8 x 1024 tokens at once: 20 bytes for each of their logits. In chunks of 64: 12 for each logit of a chunk, and the
    # hidden states.
    assert logits.logits(shape, "float32", 8, 1024, None).forward == 8 * 1024 * 50_000 * 20
    assert logits.logits(shape, "float32", 8, 1024, 64).forward == 64 * 50_000 * 12 + 8 * 1024 * 48 * 4
    # Few logits are computed at once even where chunks are allowed.
    assert logits.logits(shape, "float32", 1, 300, 64) == logits.logits(shape, "float32", 1, 300, None)
