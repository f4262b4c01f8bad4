"""Training in bfloat16: copies to compute with, fp32 weights to train, gradients added up in fp32."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import training_case as case
from torch.utils._python_dispatch import TorchDispatchMode

from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.precision import MasterWeights, to_bfloat16

METHODS: dict[str, dict[str, Any]] = {
    "a_star_po": {},
    "ppo": {
        "method": "ppo",
        "hyperparameters": {
            "kl_coefficient": 0.1,
            "clip": 0.2,
            "value_clip": 0.5,
            "gamma": 1.0,
            "gae_lambda": 1.0,
            "critic_lr": 1e-3,
        },
    },
    "oapl": {
        "method": "oapl",
        "hyperparameters": {"beta1": 0.5, "beta2": 0.1, "sync_every": 2},
        "prompts_per_batch": 2,
        "responses_per_prompt": 4,
    },
    "lora": {"lora": {"rank": 2, "alpha": 4.0, "targets": "all-linear"}},
}


def test_copies_are_rounded_weights_and_tied_ones_stay_tied(tiny_folder: Path) -> None:
    model = load_policy(tiny_folder).model
    plain = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    head = model.get_output_embeddings()
    model.model.layers[1].requires_grad_(False)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    pairs = to_bfloat16(model)
    assert head.weight is model.get_input_embeddings().weight and len(pairs) == len(trained) < len(plain)
    named = dict(model.named_parameters())
    assert all(torch.equal(weight, plain[name].bfloat16()) for name, weight in named.items())
    assert [name for name, weight in named.items() if weight.requires_grad] == [
        name for half, _ in pairs for name, weight in named.items() if weight is half
    ]
    for half, master in pairs:
        assert half.dtype == torch.bfloat16 and torch.equal(half, master.bfloat16())
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}  # such as rotary frequencies


def test_gradients_of_the_copies_add_up_in_fp32(tiny_folder: Path) -> None:
    """Exactly the fp32 sum of each pass's gradients in a model that is in bfloat16 as a whole."""
    policy = load_policy(tiny_folder)
    alone = copy.deepcopy(policy.model)
    for weight in alone.parameters():
        weight.data = weight.data.bfloat16()
    masters = MasterWeights(policy.model)
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in alone.parameters()]
    for number in range(32):
        batch = collate([[5, 6, 7 + number]], [[8, 9, 10 + number]], policy.end_token_ids)
        token_log_probs(policy.model, batch, 1.0)[0].sum().backward()
        log_probs_BT, _ = token_log_probs(alone, batch, 1.0)
        assert log_probs_BT.dtype == torch.float32
        for total, gradient in zip(sums, torch.autograd.grad(log_probs_BT.sum(), alone.parameters()), strict=True):
            total += gradient.float()
    assert all(weight.grad is None for weight in policy.model.parameters())
    for master, total in zip(masters.parameters(), sums, strict=True):
        assert master.grad is not None and torch.equal(master.grad, total)


def test_updates_below_the_rounding_of_the_copies_add_up() -> None:
    """Neighbours of 1 in bfloat16 are 1/128 apart: the fifth of five steps of 1/1000 rounds to the next one."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    masters = MasterWeights(model)
    seen = []
    for _ in range(5):
        with torch.no_grad():
            masters.parameters()[0].add_(0.001)
        masters.refresh()
        seen.append(float(model.weight.detach()))
    assert seen == [1.0, 1.0, 1.0, 1.0078125, 1.0078125]


def test_weights_of_another_model_are_refused() -> None:
    masters = MasterWeights(torch.nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="no head"):
        masters.load_state_dict({"head": torch.zeros(1)})


@pytest.mark.parametrize("name", METHODS)
def test_a_training_resumes_to_the_last_bit(name: str, tiny_folder: Path, tmp_path: Path) -> None:
    if name == "lora":
        pytest.importorskip("peft", reason="peft is not installed: `make test-deepspeed` installs it and runs this")
    how = {"precision": "bfloat16", "max_sampler_gap": None, **METHODS[name]}
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    whole = case.trainer(tiny_folder, **how)
    expected = whole.run(tmp_path / "whole").metrics
    case.run_until(case.trainer(tiny_folder, **how), 2, tmp_path / "stopped")
    resumed = case.trainer(tiny_folder, **how)
    assert resumed.run(tmp_path / "stopped").metrics == expected
    found, wanted = resumed.engine.full_weights(), whole.engine.full_weights()
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert {weight.dtype for weight in wanted.values()} == {torch.float32}
    assert not all(torch.equal(weight, weight.bfloat16().float()) for weight in wanted.values())
    for row in expected[1:2]:  # the policy is the reference, rounded alike
        assert row["kl_per_sequence"] == 0.0 and row["log_ratio_std"] == 0.0


@pytest.mark.parametrize("name", ["a_star_po", "ppo", "oapl"])
def test_every_model_computes_in_bfloat16_and_every_master_is_in_fp32(name: str, tiny_folder: Path) -> None:
    engine = case.trainer(tiny_folder, precision="bfloat16", max_sampler_gap=None, **METHODS[name]).engine
    models = [engine.policy.model, engine.reference.model, *([engine.critic.module] if engine.critic else [])]
    assert {weight.dtype for model in models for weight in model.parameters()} == {torch.bfloat16}
    masters = [engine.masters, *([engine.critic.masters] if engine.critic else [])]
    assert {weight.dtype for one in masters for weight in one.parameters()} == {torch.float32}
    assert engine.lagged is None or {weight.dtype for weight in engine.lagged.weights} == {torch.bfloat16}
    read = load_policy(tiny_folder).model.state_dict()
    assert all(torch.equal(weight, read[key]) for key, weight in engine.full_weights().items())
    if engine.critic is not None:  # starts from the weights as they were read, not as they were rounded
        body = {key.removeprefix("body."): weight for key, weight in engine.critic.state()["model"].items()}
        assert all(torch.equal(weight, read[f"model.{key}"]) for key, weight in body.items() if "head" not in key)


def test_the_exported_model_is_in_fp32(tiny_folder: Path, tmp_path: Path) -> None:
    made = case.trainer(tiny_folder, precision="bfloat16", max_sampler_gap=None)
    weights = made.engine.full_weights()
    made.engine.policy.save(tmp_path / "model", weights)
    assert json.loads((tmp_path / "model/config.json").read_text())["dtype"] == "float32"
    for name, weight in load_policy(tmp_path / "model").model.state_dict().items():
        assert torch.equal(weight, weights[name])


class Largest(TorchDispatchMode):
    """Notes the most elements that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.elements = max(self.elements, out.numel())
        return out


def test_a_frozen_head_is_not_copied_for_each_row(tiny_folder: Path) -> None:
    model = load_policy(tiny_folder).model
    model.requires_grad_(False)
    to_bfloat16(model)
    with torch.no_grad(), Largest() as largest:
        model(input_ids=torch.ones(8, 12, dtype=torch.long), use_cache=False, logits_to_keep=3)
    assert largest.elements == 8 * 3 * model.config.vocab_size  # the logits; eight copies of the head would be more
