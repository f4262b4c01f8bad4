"""LoRA: what is trained, what stays the reference, and what is exported."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.lora import adapters_off, inject, merged, plain_weights
from astarpo.model.settings import Lora
from astarpo.model.world import World
from astarpo.training.job import make_engine

LORA = {"rank": 4, "alpha": 8.0, "targets": ["q_proj", "down_proj"]}
pytest.importorskip("peft", reason="peft is not installed: `make test-deepspeed` installs it and runs this")


def log_probs(policy):
    batch = collate([[1, 2], [3, 4, 5]], [[6, 7, 8], [9]], policy.end_token_ids, "cpu")
    with torch.no_grad():
        return token_log_probs(policy.model, batch, 1.0)[0]


@pytest.fixture
def trained(tiny_folder, tmp_path):
    made = case.trainer(tiny_folder, lora=LORA, lr=1e-2)
    return made, made.run(tmp_path).metrics


def test_at_first_adapters_change_nothing(tiny_folder):
    policy = load_policy(tiny_folder)
    before = log_probs(policy)
    inject(policy.model, Lora(**LORA), seed=3)
    assert torch.equal(log_probs(policy), before)


def test_only_the_adapters_of_the_targets_are_trained(tiny_folder, trained):
    made, metrics = trained
    own = dict(made.engine.policy.model.named_parameters())
    moving = {name for name, weight in own.items() if weight.requires_grad}
    assert moving and all("lora_" in name for name in moving)
    assert {name.split(".")[-4] for name in moving} == {"q_proj", "down_proj"}
    for name, weight in load_policy(tiny_folder).model.named_parameters():
        there = own.get(name, own.get(name.replace(".weight", ".base_layer.weight")))
        if there is None:  # a bias
            there = own[name.replace(".bias", ".base_layer.bias")]
        assert torch.equal(there, weight), name
    assert metrics[1]["kl_per_sequence"] == 0.0 and metrics[-1]["kl_per_sequence"] != 0.0


def test_without_its_adapters_the_policy_is_the_reference(tiny_folder, trained):
    policy = trained[0].engine.policy
    assert trained[0].engine.reference is policy  # no second model
    reference, now = log_probs(load_policy(tiny_folder)), log_probs(policy)
    assert not torch.allclose(now, reference, atol=1e-4)
    with adapters_off(policy.model):
        assert torch.equal(log_probs(policy), reference)
    assert torch.equal(log_probs(policy), now)


def test_the_exported_policy_is_an_ordinary_one(tiny_folder, trained, tmp_path):
    engine = trained[0].engine
    policy = merged(tiny_folder, Lora(**LORA), engine.full_weights())
    policy.save(tmp_path / "out")
    again = load_policy(tmp_path / "out")
    names = {name for name, _ in again.model.named_parameters()}
    assert names == {name for name, _ in load_policy(tiny_folder).model.named_parameters()}
    assert torch.allclose(log_probs(again), log_probs(engine.policy), atol=1e-5)


def test_plain_weights_are_those_of_the_exported_policy(tiny_folder, trained):
    engine = trained[0].engine
    found = {name: weight.value() for name, weight in plain_weights(engine.policy.model).items()}
    expected = merged(tiny_folder, Lora(**LORA), engine.full_weights()).model.state_dict()
    assert found.keys() == expected.keys() and "lm_head.weight" in found
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, atol=1e-6), name
    own = load_policy(tiny_folder).model.state_dict()
    moved = {name for name in own if not torch.allclose(found[name], own[name], atol=1e-4)}
    assert {name.split(".")[-2] for name in moved} == {"q_proj", "down_proj"}


def test_only_the_adapters_are_kept_and_saved(trained):
    """Merging and resuming need nothing else: the other weights are in the reference's folder."""
    engine = trained[0].engine
    adapters = {name for name, weight in engine.policy.model.named_parameters() if weight.requires_grad}
    assert engine.full_weights().keys() == engine.state()["model"].keys() == adapters


def test_stopped_and_resumed_ends_as_it_would_have(tiny_folder, trained, tmp_path):
    _, expected = trained
    folder = tmp_path / "again"
    folder.mkdir()
    case.run_until(case.trainer(tiny_folder, lora=LORA, lr=1e-2), 2, folder)
    found = case.trainer(tiny_folder, lora=LORA, lr=1e-2).run(folder).metrics
    wanted = [{**row, "validation_reward": None} for row in expected]
    assert [{**row, "validation_reward": None} for row in found] == wanted


def test_the_job_loads_one_model_with_adapters_and_two_without(tiny_folder):
    usual, _ = make_engine(tiny_folder, case.SETTINGS, case.MACHINE, World(), 0)
    told = case.SETTINGS.changed(lora=LORA)
    adapted, sampled = make_engine(tiny_folder, told, case.MACHINE, World(), 0)
    assert usual.reference is not usual.policy
    assert adapted.reference is adapted.policy is sampled
