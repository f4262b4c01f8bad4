"""A prompt with several responses is read once, exact in value and gradient."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import training_case
from test_generation import shapes_read
from test_shared_prefix import SHOTS, assert_equal, log_probs
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

from astarpo.model.log_probs import collate
from astarpo.model.shared_prefix import LEAST_SHARED
from astarpo.model.shared_prompts import can_share_prompts, find_contexts

FIRST, SECOND, THIRD = ([(step * i) % 50 + 3 for i in range(count)] for step, count in ((3, 45), (7, 30), (11, 38)))
# Interleaved; the third prompt has one response, as where a micro-batch cuts a group.
PROMPTS = [FIRST, SECOND, FIRST, THIRD, FIRST, SECOND]
RESPONSES = [[10, 11, 1], [12, 13, 14, 15, 16], [17, 1], [18, 19, 20], [1], [21, 22, 23, 24]]
WEIGHTS = (1.0, 2.0, -0.5, 0.7, -1.3, 0.4)
CASE = {"prompts": PROMPTS, "responses": RESPONSES, "weights": WEIGHTS}
SHAPE = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "vocab_size": 80}
CONFIGS = [
    LlamaConfig(**SHAPE, num_key_value_heads=2),
    Qwen3Config(**SHAPE, num_key_value_heads=1, head_dim=8),
    # Learned positions, no more than the longest row has: 45 + 3 tokens.
    GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=80, n_positions=48),
]


def contexts_of(prompts, responses, prefix=0):
    batch = collate(prompts, responses, [1])
    return find_contexts(batch.input_ids_BS, batch.positions_BT[:, 0], batch.mask_BT, prefix)


@pytest.mark.parametrize("chunked", [False, True])
def test_values_and_gradients_are_those_of_rows_read_apart(tiny_policy, chunked):
    assert_equal(tiny_policy.model, chunked=chunked, **CASE)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_other_architectures_and_attention(config, attention):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with shapes_read(SimpleNamespace(model=model)) as shapes:
        log_probs(model, True, **CASE)
    assert shapes == [(3, 44), (6, 5)]
    assert_equal(model, **CASE)


def test_in_double_precision_they_are_equal_to_the_last_digits():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[0]).eval().double()
    (apart, gradients_apart), (shared, gradients_shared) = (
        log_probs(model, share, chunked=True, **CASE) for share in (False, True)
    )
    assert torch.allclose(shared, apart, atol=1e-6)  # returned in fp32
    for one, other in zip(gradients_shared, gradients_apart, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-6)


def test_a_common_beginning_is_still_read_by_one_row(tiny_policy):
    case = {**CASE, "prompts": [[*SHOTS, *prompt] for prompt in PROMPTS]}
    with shapes_read(tiny_policy) as shapes:
        log_probs(tiny_policy.model, True, **case)
    # All three begin with the examples and the number 3. The last token of a prompt is read with its responses.
    assert shapes == [(1, 41), (3, 43), (6, 5)]
    assert_equal(tiny_policy.model, **case)


def test_how_contexts_are_found():
    found = contexts_of(PROMPTS, RESPONSES)
    assert found.lengths_B.tolist() == [44, 29, 44, 37, 44, 29] and found.rest == 5
    contexts = [[one for one in row.tolist() if one >= 0] for row in found.ids_UP]
    assert [contexts[one] for one in found.of_row_B.tolist()] == [prompt[:-1] for prompt in PROMPTS]
    assert len(contexts) == 3


@pytest.mark.parametrize(
    ("prompts", "responses"),
    [
        ([FIRST, SECOND, THIRD], RESPONSES[:3]),  # all different
        ([FIRST] * 3, RESPONSES[:3]),  # one group is a common beginning
        ([FIRST, FIRST], RESPONSES[:2]),
        ([prompt[: LEAST_SHARED - 2] for prompt in PROMPTS], RESPONSES),  # short
        ([FIRST, FIRST, SECOND], [[10] * 40, [11] * 4, [12] * 55]),  # padding would cost more
    ],
)
def test_where_it_does_not_pay_rows_are_read_apart(prompts, responses):
    assert contexts_of(prompts, responses) is None


def test_the_saving_is_counted_in_tokens():
    """Four rows, two contexts of 32 tokens, responses of 1: 4 x 34 tokens apart, 2 x 32 + 4 together."""
    pair = [[*range(3, 36)], [*range(4, 37)]]
    prompts, responses = [pair[0], pair[1]] * 2, [[5]] * 4
    assert contexts_of(prompts, responses) is not None
    # After a common beginning of p tokens it is 4 x (34 - p) and 2 x (32 - p) + 4, and 32 are to be saved.
    assert contexts_of(prompts, responses, prefix=18) is not None
    assert contexts_of(prompts, responses, prefix=19) is None


def test_a_row_without_a_response_is_read_as_before():
    assert contexts_of(PROMPTS, [*RESPONSES[:-1], []]) is None


def test_attention_that_cannot_hide_padding_exactly_is_left_out():
    model = AutoModelForCausalLM.from_config(CONFIGS[0])
    assert can_share_prompts(model)
    model.config._attn_implementation = "flash_attention_2"
    assert not can_share_prompts(model)


def test_models_without_positions_are_left_out():
    class WithoutPositions(torch.nn.Module):
        config = SimpleNamespace(_attn_implementation="sdpa")
        base_model = SimpleNamespace(forward=lambda input_ids, attention_mask=None: None)

    assert not can_share_prompts(WithoutPositions())


def test_policy_and_reference_share_alike(tiny_folder):
    """With equal weights their log-probabilities are equal to the last bit, also where a micro-batch cuts a group."""
    machine = training_case.MACHINE.changed(micro_batch=4)
    engine = training_case.trainer(tiny_folder, machine=machine, log_prob_chunk_tokens=None).engine
    micro_batches = engine.micro_batches(PROMPTS, RESPONSES, range(6))
    assert [one.rows for one in micro_batches] == [[5, 1, 3, 4], [2, 0]]
    with shapes_read(engine.policy) as shapes:
        policy_BT = engine.log_probs("policy", micro_batches, 6, 5)
    with shapes_read(engine.reference) as of_reference:
        reference_BT = engine.log_probs("reference", micro_batches, 6, 5)
    assert of_reference == shapes and torch.equal(reference_BT, policy_BT)
    assert shapes == [(3, 44), (4, 5), (1, 44), (2, micro_batches[1].batch.input_ids_BS.shape[1] - 44)]
    engine.share_prefix = False
    assert torch.allclose(engine.log_probs("policy", micro_batches, 6, 5), policy_BT, atol=1e-5)
