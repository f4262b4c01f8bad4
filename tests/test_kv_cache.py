"""The cache with room to grow: it returns the same as transformers' cache, without repeated copies."""

import pytest
import torch
from transformers import LlamaConfig, MambaConfig, MistralConfig
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from astarpo.model.scratch import build_scratch_policy
from astarpo.sampling.kv_cache import growing_cache

HEADS, SIZE = 2, 3


def states(tokens, rows=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn((2, rows, HEADS, tokens, SIZE), generator=random)


def policy_like(config):
    """What `growing_cache` asks a model for."""

    class Model:
        def _supports_default_dynamic_cache(self):
            return not isinstance(config, MambaConfig)

    model = Model()
    model.config = config
    return model


def layers(longest=200):
    made = growing_cache(policy_like(LlamaConfig(num_hidden_layers=1)), longest)
    return made.layers[0], DynamicLayer()


def test_it_returns_what_transformers_own_layer_returns():
    growing, plain = layers()
    for step, tokens in enumerate([5, 1, 1, 40, 1, 1]):
        keys, values = states(tokens, seed=step)
        for found, expected in zip(growing.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(found, expected)
        assert growing.get_seq_length() == plain.get_seq_length()


def test_rows_can_be_chosen_and_repeated_in_between():
    growing, plain = layers()
    for step, rows in enumerate([[0, 1, 2, 3], [3, 1, 1], [2], [0, 0]]):
        for layer in (growing, plain):
            if step:
                layer.batch_select_indices(torch.tensor(rows))
            layer.update(*states(2, len(rows), seed=step))
        assert torch.equal(growing.keys, plain.keys) and torch.equal(growing.values, plain.values)


def test_a_token_is_written_into_room_that_is_there_already():
    growing, _ = layers()
    growing.update(*states(5))
    where = growing.keys.data_ptr()
    for step in range(32):  # the room that five tokens get
        growing.update(*states(1, seed=step))
    assert growing.keys.data_ptr() == where
    growing.update(*states(1))
    assert growing.keys.data_ptr() != where


def test_room_ends_at_the_longest_response():
    growing, _ = layers(longest=9)
    growing.update(*states(5))
    assert growing.keys.untyped_storage().nbytes() == 4 * HEADS * 9 * SIZE * 4


def test_sliding_windows_keep_transformers_own_layer():
    config = MistralConfig(num_hidden_layers=2, sliding_window=4)
    made = growing_cache(policy_like(config), 20)
    assert [type(layer) for layer in made.layers] == [DynamicSlidingWindowLayer] * 2


def test_a_model_that_keeps_something_else_has_none():
    assert growing_cache(policy_like(MambaConfig()), 20) is None


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_a_model_reads_the_same_through_it(kv_heads):
    policy = build_scratch_policy(
        seed=0,
        layers=2,
        hidden_size=16,
        intermediate_size=32,
        heads=2,
        kv_heads=kv_heads,
        max_positions=64,
        whole_tokens=[],
    )
    ids_BS = torch.arange(30).reshape(2, 15) + 3
    logits = []
    with torch.no_grad():
        for made in (growing_cache(policy.model, 15), DynamicCache(config=policy.model.config)):
            policy.model(input_ids=ids_BS[:, :9], past_key_values=made, use_cache=True)
            read = policy.model(input_ids=ids_BS[:, 9:], past_key_values=made, use_cache=True)
            logits.append(read.logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-6)
