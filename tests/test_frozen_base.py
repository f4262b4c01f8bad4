"""LoRA's frozen base in bfloat16 and in 4 bits: what is rounded, what is trained, and what is exported."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.common.packages import check_can_import
from astarpo.model.frozen_base import quantise
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.lora import adapters_off, inject, merged, plain_weights
from astarpo.model.scratch import build_scratch_policy
from astarpo.model.settings import Lora, packages_of
from astarpo.model.world import World
from astarpo.training.job import make_engine

pytest.importorskip("peft", reason="peft is not installed: `make test-deepspeed` installs it and runs this")
BASES = ["bfloat16", "nf4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model with matrices of more than one block of 64 weights, and with weights that bfloat16 rounds."""
    policy = build_scratch_policy(
        seed=0, layers=2, hidden_size=64, intermediate_size=128, heads=2, kv_heads=1, max_positions=64, whole_tokens=[]
    )
    made = tmp_path_factory.mktemp("base") / "model"
    policy.save(made)
    return made


def lora(base: str) -> Lora:
    if base == "nf4":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes")
    return Lora(rank=4, alpha=8.0, base_precision=base)


def scored(model: Any, policy: Any) -> torch.Tensor:
    batch = collate([[1, 2], [3, 4, 5]], [[6, 7, 8], [9]], policy.end_token_ids, "cpu")
    return token_log_probs(model, batch, 1.0)[0]


def engine(folder: Any, base: str) -> Any:
    settings = case.SETTINGS.changed(lora=lora(base), precision="bfloat16", max_sampler_gap=None)
    return make_engine(folder, settings, case.MACHINE, World(), 0)[0]


def in_bfloat16(folder: Any) -> Any:
    """The base cast by hand: the model is read in fp32."""
    policy = load_policy(folder)
    for weight in policy.model.parameters():
        weight.data = weight.data.bfloat16()
    return policy


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_four_bits_without_bitsandbytes_are_refused() -> None:
    with pytest.raises(InputError, match="nf4 needs it: pip install bitsandbytes==.*, or set base_precision: bfloat16"):
        check_can_import(packages_of(Lora(base_precision="nf4")))


@pytest.mark.parametrize("base", BASES)
def test_only_adapters_are_trained_and_in_fp32(folder: Any, base: str) -> None:
    made = engine(folder, base)
    model, trained = made.policy.model, made.full_weights()
    assert trained and all("lora_" in name and weight.dtype == torch.float32 for name, weight in trained.items())
    assert trained.keys() == {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert [weight.data_ptr() for weight in trained.values()] == [weight.data_ptr() for weight in made.trained]
    frozen = {weight.dtype for name, weight in model.named_parameters() if name not in trained}
    assert frozen == ({torch.bfloat16} if base == "bfloat16" else {torch.bfloat16, torch.uint8})
    bits = sum(w.numel() * w.element_size() for n, w in model.named_parameters() if "up_proj.base_layer" in n)
    assert bits == 2 * 64 * 128 * (2 if base == "bfloat16" else 0.5)


def test_gradients_are_those_of_a_base_cast_by_hand(folder: Any) -> None:
    made = engine(folder, "bfloat16")
    ours, theirs = made.policy, in_bfloat16(folder)
    inject(theirs.model, lora("bfloat16"), seed=0)
    adapters = [{n: w for n, w in one.model.named_parameters() if "lora_" in n} for one in (ours, theirs)]
    generator = torch.Generator().manual_seed(1)
    for name, weight in adapters[0].items():
        noise = 0.1 * torch.randn(weight.shape, generator=generator)
        for one in adapters:
            one[name].data = noise.bfloat16()
    for one in (ours, theirs):
        scored(one.model, one).sum().backward()
    for (name, weight), master in zip(adapters[1].items(), made.trained, strict=True):
        assert float(weight.grad.abs().max()) > 1e-3, name
        assert master.grad.dtype == torch.float32 and torch.equal(master.grad, weight.grad.float()), name


def test_gradients_follow_from_those_of_the_merged_weights(folder: Any) -> None:
    """dL/dB = alpha / rank dL/dW A^T and dL/dA = alpha / rank B^T dL/dW, with dL/dW from a model without adapters."""
    made = engine(folder, "bfloat16")
    generator = torch.Generator().manual_seed(1)
    for weight in made.trained:
        weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    made.masters.refresh()
    scored(made.policy.model, made.policy).sum().backward()
    weights = dict(zip(made.full_weights(), made.trained, strict=True))
    plain = merged(folder, lora("bfloat16"), weights)
    batch = collate([[1, 2], [3, 4, 5]], [[6, 7, 8], [9]], plain.end_token_ids, "cpu")
    token_log_probs(plain.model, batch, 1.0)[0].sum().backward()
    for name, weight in plain.model.named_parameters():
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" not in weights:
            continue
        a, b = (weights[f"{layer}.lora_{one}.default.weight"] for one in "AB")
        for found, expected in ((b.grad, 2 * weight.grad @ a.T), (a.grad, 2 * b.T @ weight.grad)):
            assert torch.linalg.norm(found - expected) < 0.05 * torch.linalg.norm(expected), name  # bf16's rounding


@pytest.mark.parametrize("base", BASES)
def test_training_moves_the_policy_away_from_the_rounded_base(folder: Any, tmp_path: Any, base: str) -> None:
    changes = {"lora": lora(base), "precision": "bfloat16", "max_sampler_gap": None, "lr": 1e-2}
    made = case.trainer(folder, **changes)
    metrics = made.run(tmp_path).metrics
    assert metrics[1]["kl_per_sequence"] == 0.0 and metrics[-1]["kl_per_sequence"] > 1e-3
    engine = made.engine
    untouched = load_policy(folder, dtype=torch.bfloat16)
    if base == "nf4":
        quantise(untouched.model)
    with torch.no_grad(), adapters_off(engine.policy.model):
        assert torch.equal(scored(engine.policy.model, untouched), scored(untouched.model, untouched))
    exported = merged(folder, changes["lora"], engine.full_weights())
    assert {weight.dtype for weight in exported.model.parameters()} == {torch.float32}
    with torch.no_grad():
        gap = (scored(exported.model, exported) - scored(engine.policy.model, exported)).abs().max()
    assert float(gap) < 0.03  # of log-probabilities of about 5.5, in bf16
    # What is pushed into vLLM is what is exported, with adapters rounded to the precision of passes.
    pushed = {name: weight.value() for name, weight in plain_weights(engine.policy.model).items()}
    wanted = exported.model.state_dict()
    assert pushed.keys() == wanted.keys()
    for name, weight in wanted.items():
        assert torch.allclose(pushed[name].float(), weight, rtol=2**-7, atol=1e-4), name


def test_four_bits_are_those_of_nf4(folder: Any) -> None:
    """Each block of 64 weights has at most 16 values, the largest of which is exact."""
    adapted = engine(folder, "nf4").policy.model
    found = {name: weight.value() for name, weight in plain_weights(adapted).items()}
    for name, weight in in_bfloat16(folder).model.state_dict().items():
        if name.endswith("proj.weight"):
            blocks, exact = found[name].float().reshape(-1, 64), weight.float().reshape(-1, 64)
            assert max(len(block.unique()) for block in blocks) <= 16
            assert torch.allclose(blocks.abs().amax(1), exact.abs().amax(1), rtol=0.01), name
            # Neighbouring values of NF4 are at most 0.31 apart, of a largest one of 1.
            assert bool(((blocks - exact).abs() <= 0.16 * exact.abs().amax(1, keepdim=True)).all()), name
        else:
            assert torch.equal(found[name], weight), name
