"""Micro-batches: whole groups, similar lengths, budgets of sequences and tokens; recomputed activations."""

from __future__ import annotations

import pytest
import torch
import training_case as case
from test_rollout_scoring import CASES

from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate
from astarpo.training.microbatches import cut
from astarpo.training.model_setup import recompute_activations, recomputing

ALONE = range(9)


def test_rows_of_similar_length_go_together():
    lengths = [5, 1, 9, 2, 8]
    assert cut(range(5), lengths, 2, None, ALONE) == [[1, 3], [0, 4], [2]]
    assert cut([0, 2], lengths, 2, None, ALONE) == [[0, 2]]


def test_a_budget_of_tokens_counts_the_padding():
    lengths = [4, 4, 5, 5, 9]
    # 4 + 4 + 5 tokens would be 15 padded ones; 3 x 5 is too many for 14, 2 x 9 for all.
    assert cut(range(5), lengths, 9, 14, ALONE) == [[0, 1], [2, 3], [4]]
    assert cut(range(5), lengths, 9, 15, ALONE) == [[0, 1, 2], [3], [4]]
    # A row that is too long alone has a micro-batch of its own.
    assert cut(range(5), lengths, 9, 8, ALONE) == [[0, 1], [2], [3], [4]]


def test_groups_stay_whole():
    lengths, groups = [1, 9, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]
    assert cut(range(6), lengths, 4, None, groups) == [[2, 3, 4, 5], [0, 1]]
    assert cut(range(6), lengths, 1, None, groups) == [[2, 3], [4, 5], [0, 1]]


@pytest.mark.parametrize("changes", [{"micro_batch_tokens": 20}, {"activation_checkpointing": True}])
def test_what_saves_memory_changes_no_number(tiny_folder, tmp_path, changes):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    usual = case.trainer(tiny_folder)
    expected = usual.run(tmp_path / "a").metrics
    other = case.trainer(tiny_folder, machine=case.MACHINE.changed(micro_batch=8, **changes))
    found = other.run(tmp_path / "b").metrics
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            assert row[name] == pytest.approx(value, abs=1e-5), name


def test_activations_are_recomputed_inside_the_block_only(tiny_folder):
    model = load_policy(tiny_folder).model.eval()
    recompute_activations(model)
    calls = []
    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.tensor([[1, 2, 3]])

    def passes() -> int:
        calls.clear()
        model(input_ids=ids, use_cache=False).logits.sum().backward()
        return len(calls)

    usual = passes()
    with recomputing(model):
        assert passes() == 2 * usual
    assert passes() == usual
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("recomputed", [False, True])
def test_the_critic_recomputes_its_activations_where_the_policy_does(tiny_folder, recomputed):
    method, hyperparameters, responses = CASES["ppo"]
    machine = case.MACHINE.changed(activation_checkpointing=recomputed)
    engine = case.trainer(
        tiny_folder,
        machine=machine,
        method=method,
        hyperparameters=hyperparameters,
        responses_per_prompt=responses,
    ).engine
    calls = []
    layers = engine.critic.module.body.layers
    for layer in layers:
        layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    values_BT = engine._values_with_gradient(collate([[1, 2]], [[3, 4, 5]], [9]))["values_BT"]
    values_BT.sum().backward()
    assert len(calls) == len(layers) * (2 if recomputed else 1)
