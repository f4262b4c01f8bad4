"""Rows laid end to end are read as padded ones, exact in value and gradient."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import laid_rows_case
import pytest
import torch
import training_case as case
from hypothesis import given
from hypothesis import strategies as st
from laid_rows_case import END
from test_shared_prefix import architecture  # noqa: F401 (a fixture)
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen3Config

from astarpo.model import packing
from astarpo.model.log_probs import collate
from astarpo.model.packing import pack, why_not
from astarpo.training.balance import balanced_cut
from astarpo.training.critic_model import ValueModel
from astarpo.training.microbatches import cut, micro_batches
from astarpo.training.model_setup import packs

SHOTS = [(7 * i) % 50 + 3 for i in range(40)]
ROWS = {
    "several lengths": ([[5, 6], [7], [8, 9, 10, 11]], [[10, 11, 1], [12], [13, 14, 15, 16, 17, 18, 1]]),
    "one row": ([[5, 6, 7]], [[8, 9]]),
    "equal lengths": ([[5, 6], [7, 8]], [[9, 10, 11], [12, 13, 14]]),
    "a shared prefix": ([[*SHOTS, 60], [*SHOTS, 61, 62, 63], [*SHOTS, 64]], [[10, 11], [12, 1], [13, 14, 15, 16]]),
    "an empty response": ([[5, 6], [7, 8, 9]], [[], [10, 11]]),
}

scores, assert_equal = partial(laid_rows_case.scores, how="packed"), partial(laid_rows_case.assert_equal, how="packed")


@pytest.fixture
def widths(tiny_policy):
    """The shape of what the tiny model reads."""
    shapes = []
    hook = tiny_policy.model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    hook.remove()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("rows", ROWS)
def test_values_and_gradients_are_those_of_padded_rows(tiny_policy, rows, chunked):
    assert_equal(tiny_policy.model, ROWS[rows], chunked=chunked)


def test_no_padding_is_read(tiny_policy, widths):
    scores(tiny_policy.model, ROWS["several lengths"], True)
    assert widths == [(1, 2 + 3 + 1 + 1 + 4 + 7)]


def test_what_rows_share_is_read_once_if_that_is_less(tiny_policy, widths):
    scores(tiny_policy.model, ROWS["a shared prefix"], True, share=True)
    assert widths == [(1, 40), (3, 5)]
    widths.clear()
    # Beside one that is much longer, padding the others takes more than reading the beginning for each.
    rows = [[*SHOTS[:16], 60], [*SHOTS[:16], 61], [*SHOTS[:16], 62]], [[10], [11], [12] * 60]
    assert_equal(tiny_policy.model, rows, share=True)
    assert widths == [(1, 16), (3, 61), (1, 3 * 17 + 62)]


def test_every_architecture_reads_packed_rows_as_padded_ones(architecture):  # noqa: F811
    """In float64, as gradients of these weights are large: rounding would hide a small difference."""
    assert why_not(architecture) is None
    assert_equal(architecture.double(), ROWS["several lengths"])


def test_recomputed_activations_stay_within_their_rows(tiny_policy):
    model = tiny_policy.model
    expected = scores(model, ROWS["several lengths"], False)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    try:
        found = scores(model, ROWS["several lengths"], True)
    finally:
        model.gradient_checkpointing_disable()
        model.eval()
    for one, other in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_critic_values_packed_rows_as_padded_ones(tiny_policy):
    torch.manual_seed(0)
    critic = ValueModel(tiny_policy.model.base_model, tiny_policy.model.config.hidden_size)
    torch.nn.init.normal_(critic.head.weight, std=0.3)
    found = []
    for packed in (False, True):
        batch = collate(*ROWS["several lengths"], END, packed=packed)
        critic.zero_grad(set_to_none=True)
        values_BT = critic(batch)
        values_BT.square().sum().backward()
        found.append([values_BT.detach(), *(one.grad.clone() for one in critic.parameters())])
    critic.zero_grad(set_to_none=True)
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)
    assert found[0][0].abs().max() > 0.1 and bool((found[1][0] == 0).any())


def test_where_rows_lie_by_hand():
    rows = pack(torch.tensor([[5, 6, 0], [7, 8, 9]]), [2, 3], torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert rows.input_ids_1L.tolist() == [[5, 6, 7, 8, 9]] and rows.position_ids_1L.tolist() == [[0, 1, 0, 1, 2]]
    assert rows.places_N.tolist() == [0, 3] and rows.starts.tolist() == [0, 2, 5]
    (pieces,) = rows.pieces
    assert pieces.padded_Q.tolist() == [0, 1, 0, 2, 3, 4] and pieces.flat_C.tolist() == [0, 1, 3, 4, 5]
    assert pieces.parents_N is None and pieces.seen_N1SK is None and (pieces.first, pieces.count) == (0, 5)
    assert rows.tokens == 5 and rows.longest == 3 and rows.starts.dtype == torch.int32


def varlen(query_LHD, key_LGD, value_LGD, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal, **others):
    """What flash attention's kernel for variable lengths computes, row by row."""
    assert cu_seqlens_k is cu_seqlens_q and causal and max_seqlen_q == max_seqlen_k
    outputs, starts = [], cu_seqlens_q.tolist()
    assert max(end - start for start, end in pairwise(starts)) == max_seqlen_q
    for start, end in pairwise(starts):
        parts = [one[start:end].transpose(0, 1)[None] for one in (query_LHD, key_LGD, value_LGD)]
        attended = torch.nn.functional.scaled_dot_product_attention(
            *parts, is_causal=True, enable_gqa=True, scale=others.get("softmax_scale")
        )
        outputs.append(attended[0].transpose(0, 1))
    return torch.cat(outputs)


def test_flash_attention_is_told_where_rows_begin(tiny_policy, monkeypatch):
    """Its kernels need a GPU: a function that computes the same stands for them, below transformers' own code."""
    from transformers import modeling_flash_attention_utils as flash

    rows = ROWS["several lengths"]
    expected = scores(tiny_policy.model, rows, False)
    functions = (None, varlen, None, None, None), (flash._lazy_define_process_function(varlen), dict)
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda *_: functions)
    monkeypatch.setattr(tiny_policy.model.config, "_attn_implementation_internal", "flash_attention_2")
    assert why_not(tiny_policy.model) is None
    found = scores(tiny_policy.model, rows, True)
    for one, other in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


TINY = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "vocab_size": 80, "head_dim": 8}


def test_models_whose_rows_cannot_be_packed_say_why(tiny_policy):
    assert why_not(tiny_policy.model) is None
    assert "compiled" in why_not(object())
    eager = AutoModelForCausalLM.from_config(Qwen3Config(**TINY), attn_implementation="eager")
    assert "attention: eager" in why_not(eager)
    windowed = Qwen3Config(**TINY, use_sliding_window=True, sliding_window=8, max_window_layers=0)
    mpt = AutoConfig.for_model("mpt", vocab_size=80, d_model=32, n_heads=4, n_layers=1)
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    dynamic = LlamaConfig(**TINY, intermediate_size=48, max_position_embeddings=32, rope_parameters=rope)
    for config in (windowed, dynamic):
        assert f"no test shows that {config.model_type} " in why_not(AutoModelForCausalLM.from_config(config))
    assert "attention: eager" in why_not(AutoModelForCausalLM.from_config(mpt))


def test_other_passes_attend_as_before(tiny_policy):
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    expected = tiny_policy.model(ids).logits
    scores(tiny_policy.model, ROWS["one row"], True)
    assert packing.AttentionInterface()["sdpa"] is packing.attend
    assert torch.equal(tiny_policy.model(ids).logits, expected)


RUNS = {
    "a_star_po": ("a_star_po", {"beta2": 0.1}, 1),
    "grpo": ("grpo", {"clip": 0.2, "clip_high": 0.28, "kl_coefficient": 0.1, "scale_by_std": True,
                      "std_epsilon": 1e-6, "average": "tokens"}, 4),
    "ppo": ("ppo", {"critic_lr": 1e-3, "clip": 0.2, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 0.95,
                    "kl_coefficient": 0.1}, 1),
}  # fmt: skip


def trained(folder, scratch, name, packing, **machine):
    """Metrics of each of three steps, the weights after them, and the micro-batches of the last."""
    method, hyperparameters, responses = RUNS[name]
    how = {"method": method, "hyperparameters": hyperparameters, "responses_per_prompt": responses, "steps": 3}
    how |= {"prompts_per_batch": 16 // responses, "updates_per_rollout": 2, "adam_eps": 1e-4}
    made = case.trainer(folder, machine=case.MACHINE.changed(packing=packing, micro_batch=4, **machine), **how)
    cuts, cut = [], made.engine.micro_batches
    made.engine.micro_batches = lambda *some: cuts.append(cut(*some)) or cuts[-1]
    scratch.mkdir()
    return made.run(scratch).metrics, case.weights(made), cuts[-1]


@pytest.mark.parametrize("name", RUNS)
def test_a_packed_training_is_the_padded_one(tiny_folder, tmp_path, name):
    """Reference, old policy, update and critic read packed rows; what they draw and learn stays the same."""
    metrics, weights, cuts = trained(tiny_folder, tmp_path / "a", name, True)
    expected, expected_weights, padded = trained(tiny_folder, tmp_path / "b", name, False)
    assert any(one.batch.packed is not None for one in cuts) and not any(one.batch.packed for one in padded)
    assert [one.rows for one in cuts] == [one.rows for one in padded]
    for row, wanted in zip(metrics, expected, strict=True):
        known = {key: value for key, value in wanted.items() if value is not None}
        assert {key: row[key] for key in known} == pytest.approx(known, abs=1e-5, rel=1e-4)
    assert torch.allclose(weights, expected_weights, atol=1e-5)


def test_auto_pads_with_sdpa_to_the_last_bit(tiny_folder, tmp_path):
    _, weights, cuts = trained(tiny_folder, tmp_path / "a", "a_star_po", "auto")
    _, expected, _ = trained(tiny_folder, tmp_path / "b", "a_star_po", False)
    assert torch.equal(weights, expected) and not any(one.batch.packed for one in cuts)


def test_what_cannot_be_packed_is_padded_with_a_word(tiny_policy, capsys, monkeypatch):
    models = [tiny_policy.model] * 2
    eager = AutoModelForCausalLM.from_config(Qwen3Config(**TINY), attn_implementation="eager")
    assert packs(True, models) and not packs("auto", models) and not packs(False, models)
    assert not packs("auto", [tiny_policy.model, eager]) and capsys.readouterr().out == ""
    assert not packs(True, [tiny_policy.model, eager])
    assert capsys.readouterr().out == (
        "rows are padded, although machine.packing is true: attention: eager computes rows of one length only; "
        "sdpa and flash_attention_2 can\n"
    )
    monkeypatch.setattr(tiny_policy.model.config, "_attn_implementation_internal", "flash_attention_2")
    assert packs("auto", models) and packs(True, models) and not packs(False, models)


def test_rows_of_one_length_are_read_as_they_are():
    made = micro_batches([[5], [6, 7], [8]], [[9], [10], [11]], range(3), None, (2, None), END, "cpu", packed=True)
    assert [(one.rows, one.batch.packed is None) for one in made] == [([0, 2], True), ([1], True)]


def test_the_padding_of_packed_rows_costs_nothing():
    lengths = [4, 4, 5, 5, 9]
    assert cut(range(5), lengths, 9, 18, range(5), packed=True) == [[0, 1, 2, 3], [4]]
    assert cut(range(5), lengths, 9, 27, range(5), packed=True) == [[0, 1, 2, 3, 4]]
    assert cut(range(5), lengths, 2, 27, range(5), packed=True) == [[0, 1], [2, 3], [4]]
    # A row, or a group, that is too long alone has a micro-batch of its own.
    assert cut(range(5), lengths, 9, 8, range(5), packed=True) == [[0, 1], [2], [3], [4]]
    assert cut(range(5), lengths, 9, 12, [0, 1, 0, 1, 2], packed=True) == [[0, 2], [1, 3], [4]]
    # Two ranks: one round of 9 + 5 and 5 + 4 + 4 tokens, where padding would make 2 x 9 of the first.
    assert balanced_cut(range(5), lengths, 9, 14, range(5), 2, packed=True) == [[4, 3], [2, 1, 0]]
    assert balanced_cut(range(5), lengths, 2, 14, range(5), 4, packed=True) == [[4], [3], [2, 1], [0]]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 9), st.none() | st.integers(1, 900),
       st.integers(1, 9))  # fmt: skip
def test_any_packed_rows_are_cut_within_the_limits(lengths, size, tokens, ranks):
    rows = range(len(lengths))
    for found in (cut(rows, lengths, size, tokens, rows, True), balanced_cut(rows, lengths, size, tokens, rows, ranks,
                                                                             True)):  # fmt: skip
        assert sorted(row for one in found for row in one) == list(rows)
        for one in found:
            assert len(one) <= size and (len(one) == 1 or tokens is None or sum(lengths[row] for row in one) <= tokens)
