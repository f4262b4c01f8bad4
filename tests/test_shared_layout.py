"""What rows share, laid once before their rests in one row, is read as by rows apart, exact in value and gradient."""

from __future__ import annotations

from functools import partial

import laid_rows_case
import pytest
import torch
import training_case
from laid_rows_case import END
from test_generation import shapes_read
from test_shared_prefix import PROMPTS, RESPONSES, SHOTS, architecture  # noqa: F401 (a fixture)
from transformers import AutoModelForCausalLM, Qwen3Config

from astarpo.model.log_probs import collate
from astarpo.model.shared_layout import lay_out, why_not_shared
from astarpo.training.critic_model import ValueModel
from astarpo.training.model_setup import lays_out, recompute_activations, recomputing

OTHERS = [70 - token for token in SHOTS]
OWN = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38]
GROUPS = [[*SHOTS, 60, 61], OTHERS[:33], [*SHOTS, 60, 61], OTHERS[:33], [*SHOTS, 60, 61], OTHERS[:33]]
AFTER_SHOTS = [[*SHOTS[:20], 60, *OWN], [*SHOTS[:20], *OWN]]
ROWS = {
    "a beginning": (PROMPTS, RESPONSES),
    "a beginning, and a row without a response": (PROMPTS, [*RESPONSES[:2], []]),
    "all of the prompt": ([SHOTS] * 3, RESPONSES),
    "prompts of groups": (GROUPS, [*RESPONSES, *RESPONSES]),
    "prompts of groups after a beginning": ([*AFTER_SHOTS, *AFTER_SHOTS, *AFTER_SHOTS], [*RESPONSES, *RESPONSES]),
    "a prompt that is the beginning": ([SHOTS, [*SHOTS, *OWN], SHOTS, [*SHOTS, *OWN]], [*RESPONSES, [11, 12]]),
}
# What is shared, last tokens of prompts and what is their own, and responses; and the levels of pieces.
TOKENS = {
    "a beginning": (40 + (3 + 1 + 5) + 10, 2),
    "all of the prompt": (39 + 3 + 10, 2),
    "prompts of groups": (41 + 32 + 6 + 20, 2),
    "prompts of groups after a beginning": (20 + 19 + 18 + 6 + 20, 3),
}

scores, assert_equal = partial(laid_rows_case.scores, how="shared"), partial(laid_rows_case.assert_equal, how="shared")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("rows", ROWS)
def test_values_and_gradients_are_those_of_rows_read_apart(tiny_policy, rows, chunked):
    assert_equal(tiny_policy.model, ROWS[rows], chunked=chunked)


@pytest.mark.parametrize("rows", TOKENS)
def test_one_pass_reads_each_token_once(tiny_policy, rows):
    """All that rows share, up to the token before the one that predicts the first of a response."""
    tokens, levels = TOKENS[rows]
    with shapes_read(tiny_policy) as shapes:
        scores(tiny_policy.model, ROWS[rows], True)
    assert shapes == [(1, tokens)]
    assert len(collate(*ROWS[rows], END, shared=True).packed.pieces) == levels


@pytest.mark.parametrize("rows", ["a beginning", "prompts of groups after a beginning"])
def test_every_architecture_reads_them_as_rows_apart(architecture, rows):  # noqa: F811
    """In float64, as gradients of these weights are large: rounding would hide a small difference."""
    assert why_not_shared(architecture) is None
    assert_equal(architecture.double(), ROWS[rows])


def test_where_pieces_lie_by_hand():
    """Two prompts of 17 tokens that share 16; rows of 2 and 1 response tokens."""
    ids_BS = torch.tensor([[*range(3, 19), 40, 50, 51], [*range(3, 19), 41, 52, 0]])
    mask_BT, positions_BT = torch.tensor([[True, True], [True, False]]), torch.tensor([[16, 17], [16, 0]])
    rows = lay_out(ids_BS, [19, 18], mask_BT, positions_BT)
    assert rows.input_ids_1L.tolist() == [[*range(3, 19), 40, 50, 51, 41, 52]]
    assert rows.position_ids_1L.tolist() == [[*range(16), 16, 17, 18, 16, 17]] and rows.tokens == 21
    assert rows.places_N.tolist() == [16, 17, 19]
    prefix, rests = rows.pieces
    assert (prefix.first, prefix.count, rests.first, rests.count) == (0, 16, 16, 5) and prefix.seen_N1SK is None
    assert rests.padded_Q.tolist() == [0, 1, 2, 3, 4, 3] and rests.flat_C.tolist() == [0, 1, 2, 3, 4]
    assert rests.seen_N1SK[0, 0].int().tolist() == [[1] * 16 + own for own in ([1, 0, 0], [1, 1, 0], [1, 1, 1])]


def test_rows_that_share_too_little_are_padded():
    assert collate([[5, 6], [5, 7, 8]], [[9], [10]], END, shared=True).packed is None
    packed = collate([[5, 6], [5, 7, 8]], [[9], [10]], END, packed=True, shared=True).packed
    assert packed.tokens == 7 and len(packed.pieces) == 1


def test_recomputed_activations_read_them_as_well(tiny_policy):
    model = tiny_policy.model
    expected = scores(model, ROWS["prompts of groups after a beginning"], False)
    recompute_activations(model)
    try:
        with recomputing(model):
            found = scores(model, ROWS["prompts of groups after a beginning"], True)
    finally:
        model.gradient_checkpointing_disable()
    for one, other in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_critic_values_them_as_rows_apart(tiny_policy):
    torch.manual_seed(0)
    critic = ValueModel(tiny_policy.model.base_model, tiny_policy.model.config.hidden_size)
    torch.nn.init.normal_(critic.head.weight, std=0.3)
    found = []
    for shared in (False, True):
        critic.zero_grad(set_to_none=True)
        values_BT = critic(collate(*ROWS["a beginning"], END, shared=shared))
        values_BT.square().sum().backward()
        found.append([values_BT.detach(), *(one.grad.clone() for one in critic.parameters())])
    critic.zero_grad(set_to_none=True)
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)
    assert found[0][0].abs().max() > 0.1


def test_models_that_cannot_read_them_say_why(tiny_policy, capsys):
    assert lays_out([tiny_policy.model] * 2) and capsys.readouterr().out == ""
    tiny = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 4, "vocab_size": 80, "head_dim": 8}
    eager = AutoModelForCausalLM.from_config(Qwen3Config(**tiny), attn_implementation="eager")
    assert not lays_out([tiny_policy.model, eager])
    assert capsys.readouterr().out == (
        "each row reads all of its prompt, whatever rows share: attention: eager cannot go on from what rows share; "
        "sdpa can\n"
    )
    assert not lays_out([object()]) and "compiled" in capsys.readouterr().out


def test_policy_and_reference_read_them_alike(tiny_folder):
    """With equal weights their log-probabilities are equal to the last bit, and up to rounding those of rows apart."""
    engine = training_case.trainer(tiny_folder, log_prob_chunk_tokens=None).engine
    engine.lays_out = True
    micro_batches = engine.micro_batches(PROMPTS, RESPONSES, range(3))
    found = [engine.log_probs(which, micro_batches, 3, 5) for which in ("policy", "reference")]
    assert any(one.batch.packed is not None for one in micro_batches) and torch.equal(*found)
    engine.lays_out = engine.share_prefix = False
    apart = engine.log_probs("policy", engine.micro_batches(PROMPTS, RESPONSES, range(3)), 3, 5)
    assert torch.allclose(found[0], apart, atol=1e-5) and apart.abs().max() > 1
