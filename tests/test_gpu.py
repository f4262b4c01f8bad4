"""What only a GPU can show: the same numbers as on the CPU, for every method and option. Skipped without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_case as case
from test_rollout_scoring import CASES

from astarpo.common.devices import visible_devices
from astarpo.common.errors import InputError
from astarpo.memory.check import check_fits
from astarpo.memory.stages import loading_estimate
from astarpo.model.chunked_log_probs import find_head
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.memory import free_bytes
from astarpo.model.scratch import build_scratch_policy
from astarpo.sampling import Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training.compilation import check_can_compile

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU: these tests compare one with the CPU"
)
ON_GPU = case.MACHINE.changed(device="cuda")
LORA = {"rank": 4, "alpha": 8.0, "targets": "all-linear"}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose query heads share keys, wide enough that rounding shows."""
    made = tmp_path_factory.mktemp("model") / "model"
    build_scratch_policy(
        seed=1,
        layers=4,
        hidden_size=256,
        intermediate_size=512,
        heads=8,
        kv_heads=2,
        max_positions=128,
        whole_tokens=["\\boxed{"],
    ).save(made)
    return made


def requests(policy: Any, count: int = 48) -> list[Request]:
    return [Request(f"p{i}", 0, i, policy.tokenizer(f"{i}+" * (1 + i % 5) + "1\n")["input_ids"]) for i in range(count)]


def drawn_on(folder: Path, device: str, batch_size: int) -> list[Any]:
    policy = load_policy(folder, device)
    case.end_often(policy)
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, batch_size=batch_size)
    return sampler.sample(requests(policy), SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=32))


def test_the_devices_are_those_that_torch_sees():
    assert len(visible_devices()) == torch.cuda.device_count()


def test_a_model_too_large_for_the_free_memory_is_refused():
    free = free_bytes("cuda")
    assert free is not None and 0 < free <= torch.cuda.get_device_properties(0).total_memory
    check_fits("it", loading_estimate(free // 8), "cuda")
    with pytest.raises(InputError, match="cuda has"):
        check_fits("it", loading_estimate(free // 2), "cuda")


@pytest.mark.parametrize("chunk_tokens", [0, 16])
def test_log_probabilities_and_gradients_are_those_of_the_cpu(folder, monkeypatch, chunk_tokens):
    monkeypatch.setattr("astarpo.model.log_probs.SMALL_LOGITS", 0)
    found = []
    for device in ("cpu", "cuda"):
        policy = load_policy(folder, device)
        head = find_head(policy.model) if chunk_tokens else None
        batch = collate(
            [[5, 6, 7 + i] for i in range(8)],
            [list(range(9, 30 + i)) for i in range(8)],
            [1],
            device,
        )
        log_probs_BT, entropy_BT = token_log_probs(
            policy.model, batch, 0.7, "with_gradient", head=head, chunk_tokens=chunk_tokens
        )
        assert entropy_BT is not None
        (log_probs_BT.sum() + entropy_BT.square().sum()).backward()
        gradients = [weight.grad for weight in policy.model.parameters()]
        found.append([part.detach().cpu() for part in (log_probs_BT, entropy_BT, *gradients)])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-4)


def test_the_sampler_draws_what_it_draws_on_the_cpu(folder):
    expected = drawn_on(folder, "cpu", 16)
    for batch_size in (16, 7):
        found = drawn_on(folder, "cuda", batch_size)
        assert [one.token_ids for one in found] == [one.token_ids for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def curves(folder: Path, scratch: Path, **changes: Any) -> tuple[Any, Any]:
    """Metrics of a short training on the CPU and on the GPU."""
    machine = changes.pop("machine", {})
    found = []
    for device in ("cpu", "cuda"):
        (scratch / f"{len(found)}-{device}").mkdir(parents=True)
        where = case.MACHINE.changed(device=device, **machine)
        found.append(case.trainer(folder, machine=where, **changes).run(scratch / f"{len(found)}-{device}").metrics)
    return found[0], found[1]


def assert_close(found: Any, expected: Any, tolerance: float = 2e-3) -> None:
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            if value is None:
                assert row[name] is None, name
            else:
                assert row[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("name", CASES)
def test_every_method_trains_as_on_the_cpu(folder, tmp_path, name):
    method, hyperparameters, responses = CASES[name]
    expected, found = curves(
        folder,
        tmp_path,
        method=method,
        hyperparameters=hyperparameters,
        responses_per_prompt=responses,
        max_sampler_gap=1e-3,
    )
    assert_close(found, expected)


OPTIONS = {
    "two updates with entropy": {"updates_per_rollout": 2, "entropy_coefficient": 0.01},
    "all logits at once": {"log_prob_chunk_tokens": None},
    "lora": {"lora": LORA},
    "recomputed activations": {"machine": {"activation_checkpointing": True}},
    "token budget": {"machine": {"micro_batch": 8, "micro_batch_tokens": 64}},
    "compiled": {"compile_model": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_trains_as_on_the_cpu(folder, tmp_path, monkeypatch, name):
    monkeypatch.setattr("astarpo.model.log_probs.SMALL_LOGITS", 0)
    if name == "lora":
        pytest.importorskip("peft", reason="peft is not installed")
    if name == "compiled":
        check_can_compile("cuda")
    assert_close(*curves(folder, tmp_path, **OPTIONS[name])[::-1])


def test_ppo_recomputes_the_critics_activations(folder, tmp_path):
    method, hyperparameters, responses = CASES["ppo"]
    expected, found = curves(
        folder,
        tmp_path,
        method=method,
        hyperparameters=hyperparameters,
        responses_per_prompt=responses,
        machine={"activation_checkpointing": True},
    )
    assert_close(found, expected)


@pytest.mark.parametrize("changes", [{}, {"lora": LORA}, {"compile_model": True}])
def test_in_bfloat16_the_first_log_ratio_is_exactly_zero(folder, tmp_path, changes):
    if "lora" in changes:
        pytest.importorskip("peft", reason="peft is not installed")
    made = case.trainer(folder, machine=ON_GPU, precision="bfloat16", max_sampler_gap=None, **changes)
    metrics = made.run(tmp_path).metrics
    assert metrics[1]["kl_per_sequence"] == 0.0 and metrics[1]["log_ratio_std"] == 0.0
    assert metrics[-1]["kl_per_sequence"] > 0.0
    gaps = [row["sampler_gap_mean"] for row in metrics]
    assert max(gaps) < 0.2, gaps


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_training_ends_as_one_that_ran_through(folder, tmp_path, precision):
    how = {"machine": ON_GPU, "precision": precision, "max_sampler_gap": None}
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = case.trainer(folder, **how)
    expected = whole.run(tmp_path / "whole").metrics
    case.run_until(case.trainer(folder, **how), 2, tmp_path / "stopped")
    resumed = case.trainer(folder, **how)
    found = resumed.run(tmp_path / "stopped").metrics
    assert [row["reward"] for row in found] == [row["reward"] for row in expected]
    assert torch.equal(case.weights(resumed), case.weights(whole))


DEEPSPEED = {
    "zero-0": ({}, {"zero_stage": 0}),
    "zero-2": ({}, {"zero_stage": 2}),
    "zero-3": ({}, {"zero_stage": 3}),
    "zero-2 bf16": ({"precision": "bfloat16"}, {"zero_stage": 2}),
    "zero-3 bf16": ({"precision": "bfloat16"}, {"zero_stage": 3}),
    "lora": ({"lora": LORA}, {"zero_stage": 2}),
    "recomputed": ({}, {"zero_stage": 3, "activation_checkpointing": True}),
    "offload-2": ({}, {"zero_stage": 2, "offload_optimizer": True}),
    "offload-3": ({}, {"zero_stage": 3, "offload_optimizer": True, "offload_parameters": True}),
}


@pytest.mark.parametrize("name", DEEPSPEED)
@pytest.mark.parametrize("launcher", ["alone", "torchrun"])
def test_deepspeed_on_one_gpu_trains_as_plain_torch(folder, tmp_path, name, launcher):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    run = torchrun if launcher == "torchrun" else []
    paths = f"{ROOT / 'tests'}:{ROOT / 'workflow_scripts'}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, *run, __file__, name, str(folder), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found = torch.load(tmp_path / "found.pt")
    if "bf16" in name:  # DeepSpeed's weights are in bfloat16, plain torch's are not: the curves part
        assert found[1]["kl_per_sequence"] == 0.0 and found[-1]["kl_per_sequence"] > 0.0
        assert max(row["sampler_gap_mean"] for row in found) < 0.2
        return
    (tmp_path / "plain").mkdir()
    settings = {"max_sampler_gap": None, **DEEPSPEED[name][0]}
    expected = case.trainer(folder, machine=ON_GPU, **settings).run(tmp_path / "plain").metrics
    assert_close(found, expected, 5e-3)


def train_with_deepspeed(name: str, folder: str, out: str) -> None:
    """One case of `DEEPSPEED` in a process of its own."""
    from astarpo.model.world import join_world

    settings, machine = DEEPSPEED[name]
    told = case.SETTINGS.changed(engine="deepspeed", max_sampler_gap=None, **settings)
    where = ON_GPU.changed(**machine)
    made = case.deepspeed_trainer(folder, join_world("cuda"), told, where)
    (Path(out) / "scratch").mkdir()
    torch.save(made.run(Path(out) / "scratch").metrics, Path(out) / "found.pt")


if __name__ == "__main__":
    train_with_deepspeed(*sys.argv[1:])
