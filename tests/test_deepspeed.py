"""The DeepSpeed engine against the plain one: `make test-deepspeed` installs what it needs and runs this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_case as case
import yaml
from snakemake.utils import update_config

from astarpo.model.loading import load_policy
from astarpo.model.scratch import build_scratch_policy

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: `make test-deepspeed` installs it")

# A batch of 8 prompts in micro-batches of one: 8 of them in one process, 4 in each of two.
SETTINGS = {"prompts_per_batch": 8, "lr": 1e-2, "log_prob_chunk_tokens": None}
MACHINE = {"micro_batch": 1}
HANGS_S = 3600.0  # the longest takes minutes, also on a busy machine
CHUNKS = {"log_prob_chunk_tokens": 3, "entropy_coefficient": 0.01}
LORA = {"rank": 4, "alpha": 8.0, "targets": "all-linear"}
PPO = {
    "method": "ppo",
    "hyperparameters": {
        "critic_lr": 1e-2,
        "clip": 0.2,
        "value_clip": 0.5,
        "gamma": 1.0,
        "gae_lambda": 0.95,
        "kl_coefficient": 0.1,
    },
    "updates_per_rollout": 2,
}
OAPL = {
    "method": "oapl",
    "hyperparameters": {"beta1": 0.5, "beta2": 1.0, "sync_every": 3},
    "responses_per_prompt": 2,
    "log_prob_chunk_tokens": 3,
}
BFLOAT16 = {"precision": "bfloat16", "max_sampler_gap": None}
OTHERS = [
    {"name": "ppo-3", "settings": PPO, "machine": {"zero_stage": 3}, "stop_after": 2},
    {"name": "ppo-lora", "settings": {**PPO, "lora": LORA}, "machine": {"zero_stage": 2}},
    {"name": "oapl-2", "settings": OAPL, "machine": {"zero_stage": 2}},
    {"name": "oapl-3", "settings": OAPL, "machine": {"zero_stage": 3}, "stop_after": 2},
    {"name": "oapl-lora", "settings": {**OAPL, "lora": LORA}, "machine": {"zero_stage": 3}},
]
TWO = [
    *OTHERS,
    *({"name": f"zero-{stage}", "machine": {"zero_stage": stage}} for stage in range(4)),
    {"name": "stopped-2", "machine": {"zero_stage": 2}, "stop_after": 2},
    {"name": "stopped-3", "machine": {"zero_stage": 3}, "stop_after": 2},
    {
        "name": "saving",
        "machine": {
            "zero_stage": 3,
            "offload_optimizer": True,
            "offload_parameters": True,
            "activation_checkpointing": True,
            "micro_batch": 8,
            "micro_batch_tokens": 40,
        },
    },
    {"name": "chunks", "settings": CHUNKS, "machine": {"zero_stage": 3, "micro_batch": 3}},
    {
        "name": "chunks-lora",
        "settings": {**CHUNKS, "lora": LORA},
        "machine": {"zero_stage": 3},
        "stop_after": 2,
    },
    {"name": "balanced", "machine": {"zero_stage": 2, "micro_batch": 3}},
    {"name": "uneven", "settings": {"prompts_per_batch": 7}, "machine": {"zero_stage": 2}},
    {
        "name": "pairs",
        "settings": {"method": "rebel", "hyperparameters": {"eta": 1.0}, "responses_per_prompt": 2},
    },
    {"name": "lora-2", "settings": {"lora": LORA}, "machine": {"zero_stage": 2}},
    {"name": "bfloat16", "settings": BFLOAT16},
    {
        "name": "bfloat16-3",
        "settings": {**CHUNKS, **BFLOAT16},
        "machine": {"zero_stage": 3},
    },
]
GRPO = {
    "method": "grpo",
    "hyperparameters": {
        "clip": 0.2,
        "clip_high": 0.2,
        "kl_coefficient": 0.1,
        "scale_by_std": True,
        "std_epsilon": 1e-6,
        "average": "tokens",
    },
    "prompts_per_batch": 2,
    "responses_per_prompt": 4,
    "steps": 2,
}
STARTED = {"settings": GRPO, "beginning": 20}
OWN = {**STARTED, "whose": "own"}
HALF = {"settings": {"steps": 2}, "beginning": 20, "whose": "every other"}


def laid(name: str, told: dict[str, Any], stage: int, **machine: Any) -> dict[str, Any]:
    """A training with micro-batches of four rows."""
    return {"name": name, **told, "machine": {"zero_stage": stage, "micro_batch": 4, **machine}}


APART = [
    {**laid("started", STARTED, 0), "apart": True},
    {**laid("own", OWN, 0), "apart": True},
    {**laid("half", HALF, 0), "apart": True},
    laid("started-alone-0", STARTED, 0),
    laid("started-alone-3", STARTED, 3),
    {**laid("started-packed-alone-3", STARTED, 3, packing=True), "apart": True},
]
LAID = [
    *(laid(f"started-{stage}", STARTED, stage) for stage in range(4)),
    laid("started-again-3", STARTED, 3, activation_checkpointing=True),
    laid("own-3", OWN, 3),
    laid("half-3", HALF, 3),
    *({**laid(f"started-packed-{stage}", STARTED, stage, packing=True), "apart": True} for stage in (0, 2, 3)),
    {**laid("half-packed-3", HALF, 3, packing=True), "apart": True},
]
OFFLOADED = {"offload_optimizer": True}
SUMS = {
    "sum-0": {"zero_stage": 0},
    "sum-1": {"zero_stage": 1},
    "sum-2": {"zero_stage": 2},
    "sum-3": {"zero_stage": 3},
    "sum-2-offloaded": {"zero_stage": 2, **OFFLOADED},
    "sum-3-offloaded": {"zero_stage": 3, **OFFLOADED, "offload_parameters": True},
}
AT_ONCE = {**CHUNKS, "log_prob_chunk_tokens": None}
WHOLE = [{"name": f"whole-{stage}", "settings": BFLOAT16, "machine": {"zero_stage": stage}} for stage in (3, 0, 2)]
RESUMED = [
    {**WHOLE[-1], "name": "whole-2-first"},
    *WHOLE,
    *({**one, "name": one["name"].replace("whole", "stopped"), "stop_after": 2} for one in WHOLE),
]
ONE = [
    {"name": "alone", "machine": {"zero_stage": 0}},
    {"name": "alone-entropy", "settings": AT_ONCE, "machine": {"zero_stage": 0}},
]


def start(processes: int, cases: list[dict[str, Any]], folder: Path, out: Path, launcher: str = "torchrun") -> None:
    """Run the cases in torchrun, or alone; SETTINGS and MACHINE stand under those of each case."""
    told = [
        {**one, "settings": {**SETTINGS, **one.get("settings", {})}, "machine": {**MACHINE, **one.get("machine", {})}}
        for one in cases
    ]
    path = out / f"cases-{processes}.json"
    path.write_text(json.dumps(told))
    here = Path(__file__).parent
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    process = subprocess.Popen(
        [
            sys.executable,
            *(torchrun if launcher == "torchrun" else []),
            str(here / "deepspeed_case.py"),
            str(path),
            str(folder),
            str(out),
        ],
        env={**os.environ, "PYTHONPATH": f"{here}:{here.parent / 'workflow_scripts'}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, warned = process.communicate(timeout=HANGS_S)
    except subprocess.TimeoutExpired:
        process.terminate() if launcher == "torchrun" else process.kill()  # torchrun ends its processes
        said, warned = process.communicate()
        warned += f"\nnot done after {HANGS_S:.0f} s: {', '.join(one['name'] for one in cases)}"
    assert process.returncode == 0, said[-4000:] + warned[-8000:]


@pytest.fixture(scope="module")
def out(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deepspeed")
    start(1, ONE, tiny_folder, folder)
    with_own_head(tiny_folder, folder / "untied")
    chunks = {"settings": CHUNKS, "machine": {"zero_stage": 3, "micro_batch": 3}}
    untied = {"name": "chunks-untied", "folder": str(folder / "untied"), **chunks}
    start(2, [*TWO, untied], tiny_folder, folder)
    return folder


@pytest.fixture(scope="module")
def end_to_end(tiny_folder, tmp_path_factory):
    """Trainings whose rows are laid end to end, after what they share or each for itself, and padded ones."""
    folder = tmp_path_factory.mktemp("laid")
    start(1, APART, tiny_folder, folder)
    start(2, LAID, tiny_folder, folder)
    return folder


@pytest.fixture(scope="module")
def sums(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums")
    many = {**BFLOAT16, "responses_per_prompt": 4, "steps": 2}
    start(1, [{"name": name, "settings": many, "machine": where} for name, where in SUMS.items()], tiny_folder, folder)
    return folder


@pytest.fixture(scope="module")
def resumed(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resumed")
    start(2, RESUMED, tiny_folder, folder)
    return folder


def with_own_head(source: Path, folder: Path) -> None:
    """The same model with output embeddings of its own."""
    policy = load_policy(source)
    assert policy.model.config.tie_word_embeddings
    policy.model.config.tie_word_embeddings = False
    policy.model.lm_head.weight = torch.nn.Parameter(policy.model.lm_head.weight.detach().clone())
    policy.save(folder)


def test_every_process_samples_with_its_own_vllm(tmp_path):
    """Each follows the policy: the gap to the trainer's log-probabilities stays at rounding."""
    pytest.importorskip("vllm", reason="vLLM is not installed: `make test-vllm` installs it")
    one = {
        "name": "vllm",
        "settings": {"sampling_engine": "vllm", "max_sampler_gap": 1e-3},
        "machine": {"zero_stage": 3, "sampler_memory_share": 0.02},
    }
    wide = build_scratch_policy(  # wide enough for vLLM's attention
        seed=0,
        layers=2,
        hidden_size=64,
        intermediate_size=64,
        heads=2,
        kv_heads=1,
        max_positions=64,
        whole_tokens=["\\boxed{"],
    )
    wide.save(tmp_path / "model")
    adapted = {**one, "name": "vllm-lora", "settings": {**one["settings"], "lora": LORA}}
    start(2, [one, adapted], tmp_path / "model", tmp_path)
    before = dict(wide.model.named_parameters())
    for name in ("vllm", "vllm-lora"):
        metrics, weights, _ = result(tmp_path, name)
        assert len(metrics) == 5 and all(row["sampler_gap_mean"] < 1e-3 for row in metrics)
        assert metrics[-1]["kl_per_sequence"] > 1e-4
        assert not torch.load(tmp_path / f"{name}.pt")["whole"]  # weights are pushed one after another
        if name == "vllm":
            assert not torch.equal(weights["model.norm.weight"], before["model.norm.weight"])


def result(out: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]:
    found = torch.load(out / f"{name}.pt")
    return json.loads(found["metrics"]), found["weights"], found["gradients"]


def plain(folder: Path, scratch: Path, **changes: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    scratch.mkdir(exist_ok=True)
    machine = case.MACHINE.changed(**MACHINE)
    made = case.trainer(folder, machine=machine, **{**SETTINGS, **changes})
    history = made.run(scratch)
    named = made.engine.policy.model.named_parameters()
    return history.metrics, {name: weight for name, weight in named if weight.requires_grad}


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    metrics, weights = found[:2]
    wanted, wanted_weights = expected[:2]
    assert [row["step"] for row in metrics] == [row["step"] for row in wanted]
    for row, other in zip(metrics, wanted, strict=True):
        for name, value in other.items():
            if value is None:
                assert row[name] is None
            else:
                assert row[name] == pytest.approx(value, abs=tolerance), name
    assert weights.keys() == wanted_weights.keys()
    for name, weight in wanted_weights.items():
        assert torch.allclose(weights[name], weight, atol=tolerance), name


def test_only_the_first_process_gathers_whole_weights(out):
    """Of adapters and their base, only the adapters."""
    for name in ("zero-0", "zero-2", "zero-3", "lora-2", "bfloat16-3"):
        assert torch.load(out / f"{name}.pt")["gathered"] == [len(result(out, name)[1]), 0], name
    assert all("lora_" in name for name in result(out, "lora-2")[1])


def test_zero_3_shards_models_while_they_are_read(out, tiny_policy):
    """Policy, reference and critic; when DeepSpeed's engine is made, each process has half of every weight."""
    sizes = [weight.numel() for weight in tiny_policy.model.parameters()]
    half = sum(-(-size // 2) for size in sizes)
    assert torch.load(out / "zero-2.pt")["read"] == [sum(sizes)] * 2
    assert torch.load(out / "zero-3.pt")["read"] == torch.load(out / "bfloat16-3.pt")["read"] == [half] * 2
    assert torch.load(out / "ppo-3.pt")["read"] == [half] * 3


@pytest.mark.parametrize("name", ["bfloat16", "bfloat16-3"])
def test_buffers_are_not_rounded_with_the_weights(out, tiny_policy, name):
    buffers = torch.load(out / f"{name}.pt")["buffers"]
    assert "model.rotary_emb.inv_freq" in buffers
    for key, buffer in tiny_policy.model.named_buffers():
        assert buffers[key].dtype == torch.float32 and torch.equal(buffers[key], buffer), key


@pytest.fixture(scope="module")
def expected(tiny_folder, tmp_path_factory):
    return plain(tiny_folder, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("name", ["alone", "zero-0", "zero-1", "zero-2", "zero-3", "saving"])
def test_every_stage_gives_the_curve_and_the_weights_of_plain_torch(out, expected, name):
    assert expected[0][-1]["kl_per_sequence"] > 0.01  # the policy did move
    assert_same(result(out, name), expected, 1e-4)


@pytest.mark.parametrize("stage", [2, 3])
def test_one_device_needs_no_torchrun_to_offload(tiny_folder, tmp_path, expected, stage):
    """As the launcher starts a training with machine.devices = 1."""
    machine = {"zero_stage": stage, "offload_optimizer": True, "offload_parameters": stage == 3}
    start(1, [{"name": "offloaded", "machine": machine, "stop_after": 2}], tiny_folder, tmp_path, launcher="none")
    assert_same(result(tmp_path, "offloaded"), expected, 1e-4)


@pytest.mark.parametrize("name", ["zero-0", "zero-2", "zero-3"])
def test_two_processes_with_four_micro_batches_have_the_gradient_of_one_with_eight(out, name):
    whole, shared = result(out, "alone")[2][0], result(out, name)[2][0]
    assert max(float(gradient.abs().max()) for gradient in whole.values()) > 1e-4
    for key, gradient in whole.items():
        assert torch.allclose(shared[key], gradient, rtol=0, atol=1e-6), key


def test_rows_of_uneven_lengths_are_shared_without_passes_that_do_not_count(out):
    """Of eight rows, one device would make micro-batches of three, three and two."""
    passes = torch.load(out / "balanced.pt")["passes"]
    updates = case.SETTINGS.steps
    assert [len(of_rank) for of_rank in passes] == [2 * updates, 2 * updates]
    assert all(counts for of_rank in passes for _, _, counts in of_rank)
    assert len({tokens // len(rows) for of_rank in passes for rows, tokens, _ in of_rank}) > 2
    for first in range(0, 2 * updates, 2):
        pairs = [rows for of_rank in passes for rows, _, _ in of_rank[first : first + 2]]
        assert sorted(row for rows in pairs for row in rows) == list(range(8))
    assert_same(result(out, "balanced"), result(out, "alone"), 1e-4)
    whole, shared = result(out, "alone")[2][0], result(out, "balanced")[2][0]
    for key, gradient in whole.items():
        assert torch.allclose(shared[key], gradient, rtol=0, atol=1e-6), key


@pytest.mark.parametrize("name", [one["name"] for one in (*APART[3:], *LAID)])
def test_rows_laid_end_to_end_have_the_values_and_gradient_of_padded_ones(end_to_end, name):
    """With one process and with two. Without ``apart`` what rows share is read once."""
    found, expected = (torch.load(end_to_end / f"{one}.pt") for one in (name, name.partition("-")[0]))
    assert {pieces for of_rank in expected["laid"] for pieces, _ in of_rank} == {0}
    pieces = [pieces for of_rank in found["laid"] for pieces, _ in of_rank]
    assert max(pieces) == (1 if "packed" in name else 2) and (0 in pieces) == (name == "half-3")
    for laid_BT, padded_BT in zip(found["scored"][:2], expected["scored"][:2], strict=True):
        assert torch.allclose(laid_BT, padded_BT, rtol=0, atol=1e-5) and padded_BT.abs().max() > 1
    gradients, wanted = found["gradients"][0], expected["gradients"][0]
    assert max(float(gradient.abs().max()) for gradient in wanted.values()) > 1e-4
    for key, gradient in wanted.items():
        assert torch.allclose(gradients[key], gradient, rtol=0, atol=1e-6), key
    assert_same(result(end_to_end, name), result(end_to_end, name.partition("-")[0]), 1e-4)


def test_passes_over_what_rows_share_read_fewer_tokens(end_to_end):
    """Of four rows that begin with 20 tokens, 60 are not read. The processes need not share alike."""
    for name in ("started-0", "started-3"):
        found = torch.load(end_to_end / f"{name}.pt")
        for passes, laid in zip(found["passes"], found["laid"], strict=True):
            assert all(read <= padded - 60 for (_, padded, _), (_, read) in zip(passes, laid, strict=True))
    shares = torch.load(end_to_end / "half-3.pt")["laid"]
    assert any({first[0], second[0]} == {0, 2} for first, second in zip(*shares, strict=True))


@pytest.mark.parametrize("stage", [2, 3])
def test_stopped_and_resumed_ends_as_it_would_have(out, stage):
    assert_same(result(out, f"stopped-{stage}"), result(out, f"zero-{stage}"), 1e-6)


@pytest.mark.parametrize(
    ("name", "other"),
    [("stopped-0", "whole-0"), ("stopped-2", "whole-2"), ("stopped-3", "whole-3"), ("whole-2", "whole-2-first")],
)
def test_in_bfloat16_too_it_ends_so_to_the_last_bit_whatever_the_process_trained_before(resumed, name, other):
    metrics, weights, _ = result(resumed, name)
    expected, expected_weights, _ = result(resumed, other)
    assert expected[-1]["kl_per_sequence"] > 5e-4
    assert metrics == expected
    assert all(torch.equal(weights[key], weight) for key, weight in expected_weights.items())


@pytest.mark.parametrize("name", ["chunks", "chunks-lora", "chunks-untied"])
def test_spread_heads_are_used_in_chunks(out, tiny_folder, tmp_path, name):
    """The two processes cut their tokens into different numbers of chunks; neither waits for the other."""
    lora = LORA if name == "chunks-lora" else None
    folder = out / "untied" if name == "chunks-untied" else tiny_folder
    expected = plain(folder, tmp_path, **AT_ONCE, lora=lora)
    assert ("lm_head.weight" in expected[1]) == (name == "chunks-untied")
    assert expected[0][-1]["kl_per_sequence"] > 5e-4
    assert_same(result(out, name), expected, 1e-4)
    assert max(torch.load(out / f"{name}.pt")["chunks"]) == 3


def test_chunks_of_spread_heads_have_the_gradient_of_all_logits_at_once(out):
    whole, cut = result(out, "alone-entropy")[2][0], result(out, "chunks")[2][0]
    assert max(float(gradient.abs().max()) for gradient in whole.values()) > 1e-4
    for key, gradient in whole.items():
        assert torch.allclose(cut[key], gradient, rtol=0, atol=1e-6), key


def test_adapters_train_as_on_one_device(out, tiny_folder, tmp_path):
    found, expected = result(out, "lora-2"), plain(tiny_folder, tmp_path, lora=LORA)
    assert expected[0][-1]["kl_per_sequence"] > 5e-4
    assert_same(found, expected, 1e-4)


def test_a_batch_that_cannot_be_shared_evenly(out, tiny_folder, tmp_path):
    assert_same(result(out, "uneven"), plain(tiny_folder, tmp_path, prompts_per_batch=7), 1e-4)


def test_pairs_stay_in_one_process(out, tiny_folder, tmp_path):
    changes = {"method": "rebel", "hyperparameters": {"eta": 1.0}, "responses_per_prompt": 2}
    assert_same(result(out, "pairs"), plain(tiny_folder, tmp_path, **changes), 1e-4)


@pytest.mark.parametrize("one", OTHERS, ids=lambda one: one["name"])
def test_a_critic_and_lagged_weights_are_those_of_one_device(out, tiny_folder, tmp_path, one):
    expected = plain(tiny_folder, tmp_path, **one["settings"])
    assert expected[0][-1]["kl_per_sequence"] > 2e-4
    assert_same(result(out, one["name"]), expected, 1e-4)


@pytest.mark.parametrize("name", SUMS)
def test_gradients_in_bfloat16_are_summed_in_fp32_from_zero_2_on(sums, name):
    """Thirty-two micro-batches: sums in bfloat16 are off by up to 2 %."""
    found = torch.load(sums / f"{name}.pt")
    tolerance = 0.05 if name in ("sum-0", "sum-1") else 1e-5
    assert len(found["gradients"]) == 2
    for summed, exact in zip(found["gradients"], found["exact_sums"], strict=True):
        assert max(float(gradient.abs().max()) for gradient in exact.values()) > 1e-4
        for key, gradient in exact.items():
            assert torch.linalg.norm(summed[key] - gradient) <= tolerance * torch.linalg.norm(gradient), key


@pytest.mark.parametrize("name", ["bfloat16", "bfloat16-3"])
def test_bfloat16_has_fp32_masters(out, name):
    metrics, weights, _ = result(out, name)
    assert metrics[1]["kl_per_sequence"] == 0.0  # policy and reference round alike
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    rounded = [torch.equal(weight, weight.bfloat16().float()) for weight in weights.values()]
    assert not all(rounded)


def test_the_workflow_trains_on_two_processes_and_exports(tmp_path):
    """Snakemake, launcher, torchrun, training and export, with adapters and everything that saves memory."""
    root = Path(__file__).resolve().parent.parent
    for name in ("Snakefile", "rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        (tmp_path / name).symlink_to(root / name)
    config: dict[str, Any] = {}
    for name in ("config/config.yaml", "tests/configs/smoke.yaml"):
        update_config(config, yaml.safe_load((root / name).read_text()))
    run = {**config["runs"]["a-star-po"], "engine": "deepspeed", "lora": {"rank": 4}, "seeds": [0]}
    config |= {"runs": {"spread": run}, "figures": {}}
    config["machine"] |= {
        "devices": 2,
        "zero_stage": 3,
        "micro_batch_tokens": 200,
        "activation_checkpointing": True,
    }
    (tmp_path / "spread.yaml").write_text(yaml.safe_dump(config))
    target = "results/runs/spread/seed-0/manifest.json"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "spread.yaml", "--", target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    log = (tmp_path / "results/logs/train_policy/spread/seed-0.log").read_text()
    assert log.count("training on") == 1 and "is deprecated" not in log
    (kept,) = (tmp_path / "results/checkpoints/spread/seed-0").glob("*/finished")
    assert (kept / "model/config.json").is_file() and not list(kept.parent.glob("world-2/step-*"))
    names = [
        {name for name, _ in load_policy(tmp_path / folder / "model").model.named_parameters()}
        for folder in ("results/runs/spread/seed-0", "results/references/tiny")
    ]
    assert names[0] == names[1]
