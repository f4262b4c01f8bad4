"""Attention of shared heads from one new token: the same numbers without copies of the keys."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from astarpo.sampling.grouped_query_attention import NAME, attend, groups_together


def case(new, groups, mask):
    """Six query heads of size 4, seven tokens in all, three rows."""
    random = torch.Generator().manual_seed(1)
    query = torch.randn((3, new, 6, 4), generator=random).transpose(1, 2)
    key, value = torch.randn((2, 3, groups, 7, 4), generator=random)
    seen = torch.ones(3, 1, new, 7, dtype=torch.bool)
    seen[0, ..., :2], seen[2, ..., :5] = False, False
    added = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    layer = SimpleNamespace(num_key_value_groups=6 // groups, is_causal=True)
    return layer, query, key, value, {"bool": seen, "added": added, "none": None}[mask]


@pytest.mark.parametrize("mask", ["bool", "added", "none"])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("new", [1, 4])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_equals_transformers_attention(new, groups, mask, scaling):
    arguments = case(new, groups, mask)
    expected, _ = sdpa_attention_forward(*arguments, scaling=scaling)
    found, _ = attend(*arguments, scaling=scaling)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_mask_for_each_head_is_left_to_transformers():
    layer, query, key, value, _ = case(1, 2, "none")
    mask = torch.randn(3, 6, 1, 7, generator=torch.Generator().manual_seed(2))
    expected, _ = sdpa_attention_forward(layer, query, key, value, mask)
    assert torch.equal(attend(layer, query, key, value, mask)[0], expected)


def test_the_model_attends_as_before_afterwards_also_if_something_fails(tiny_policy):
    config = tiny_policy.model.config
    before = config._attn_implementation
    assert before == "sdpa" and config.num_key_value_heads == 1
    within = []

    def fail():
        with groups_together(tiny_policy.model):
            within.append(config._attn_implementation)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert within == [NAME]
    assert config._attn_implementation == before


def test_a_model_that_attends_in_another_way_is_left_alone(tiny_policy):
    tiny_policy.model.set_attn_implementation("eager")
    try:
        with groups_together(tiny_policy.model):
            assert tiny_policy.model.config._attn_implementation == "eager"
    finally:
        tiny_policy.model.set_attn_implementation("sdpa")
