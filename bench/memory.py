"""Compare the estimated memory of trainings with what torch allocates, phase by phase, on this CPU.

    python bench/memory.py [--only PATTERN]
    .venv-engines/bin/python bench/memory.py          # with DeepSpeed and LoRA as well

Each case makes a model with random weights, loads it as a training does, samples, makes the passes and two updates, and
exports, in processes of its own. The numbers are torch's count of allocated bytes (`bench/allocations.py`), exact and
the same on every machine. A case takes up to two minutes and less than 6 GB.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from bench.allocations import TRACED_LOADING, Allocations  # noqa: E402 (the path comes first)
from bench.report import Measured, record  # noqa: E402

if TYPE_CHECKING:
    from astarpo.common.machine import MachineSettings
    from astarpo.training.settings import TrainSettings

PHASES = ("load", "generate", "reference", "update", "export")
BUCKET = 4_000_000  # DeepSpeed's usual 500 million would be half of every number here
SMOLLM2 = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 260,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
    },
    "smollm2": SMOLLM2,
    "smollm2, 6 layers": {**SMOLLM2, "num_hidden_layers": 6},
    "untied, 6 layers": {**SMOLLM2, "num_hidden_layers": 6, "vocab_size": 8192, "tie_word_embeddings": False},
}
PPO = {
    "method": "ppo",
    "hyperparameters": {
        "clip": 0.2,
        "kl_coefficient": 1e-3,
        "critic_lr": 1e-5,
        "value_clip": 0.5,
        "gamma": 1.0,
        "gae_lambda": 1.0,
    },
}
OAPL = {"method": "oapl", "hyperparameters": {"beta1": 0.5, "beta2": 1.0, "sync_every": 1}, "responses_per_prompt": 2}
LORA = {"lora": {"rank": 16, "alpha": 32.0, "targets": "all-linear"}}
SHARDED = {"engine": "deepspeed"}


@dataclass(frozen=True)
class Case:
    """A training to be measured.

    Attributes:
        shape: a key of `SHAPES`.
        settings, machine: that differ from `make_settings`.
        prompt, response: tokens of every prompt and response.
        processes: above 1 with torchrun.
    """

    shape: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    prompt: int = 64
    response: int = 48
    processes: int = 1


BF16 = {"precision": "bfloat16"}
AGAIN = {"activation_checkpointing": True}
MANY = {"prompts_per_batch": 64}
CASES = {
    "tiny": Case("tiny", MANY, {"micro_batch": 32}, 16, 40),
    "tiny, bf16, recomputed": Case("tiny", {**MANY, **BF16}, {"micro_batch": 32, **AGAIN}, 16, 40),
    "SmolLM2": Case("smollm2"),
    "SmolLM2, bf16": Case("smollm2", BF16),
    "SmolLM2, recomputed": Case("smollm2", {}, {"micro_batch": 8, **AGAIN}),
    "SmolLM2, LoRA": Case("smollm2", LORA),
    "6 layers, critic": Case("smollm2, 6 layers", PPO),
    "6 layers, critic, bf16, recomputed": Case("smollm2, 6 layers", {**PPO, **BF16}, AGAIN),
    "6 layers, lagged": Case("smollm2, 6 layers", OAPL),
    "6 layers, all logits at once": Case("smollm2, 6 layers", {"log_prob_chunk_tokens": None}),
    "untied": Case("untied, 6 layers", {}, {"micro_batch": 8}),
    "ZeRO 0, bf16": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 0}),
    "ZeRO 0": Case("smollm2, 6 layers", SHARDED, {"zero_stage": 0}),
    "ZeRO 1, bf16": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 1}),
    "ZeRO 2, bf16": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 2}),
    "ZeRO 2, bf16, two processes": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 2}, processes=2),
    "ZeRO 2, two processes, recomputed": Case(
        "smollm2, 6 layers", SHARDED, {"zero_stage": 2, "micro_batch": 8, **AGAIN}, processes=2
    ),
    "ZeRO 2, critic": Case("smollm2, 6 layers", {**SHARDED, **BF16, **PPO}, {"zero_stage": 2}),
    "ZeRO 2, LoRA": Case("smollm2, 6 layers", {**SHARDED, **BF16, **LORA}, {"zero_stage": 2}),
    "ZeRO 3, bf16": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 3}),
    "ZeRO 3, bf16, two processes": Case("smollm2, 6 layers", {**SHARDED, **BF16}, {"zero_stage": 3}, processes=2),
    "ZeRO 3": Case("smollm2, 6 layers", SHARDED, {"zero_stage": 3}),
}


def main() -> None:
    arguments = parse()
    if arguments.case:
        run(CASES[arguments.case], Path(arguments.folder))
        return
    print(f"{'MiB: measured, estimated':40s}" + "".join(f"{phase:>16s}" for phase in PHASES) + "            peak")
    missing = {name for name in ("deepspeed", "peft") if importlib.util.find_spec(name) is None}
    rows: list[Measured] = []
    for name, case in CASES.items():
        needs = {"deepspeed"} if case.settings.get("engine") == "deepspeed" else set()
        needs |= {"peft"} if "lora" in case.settings else set()
        if not fnmatch.fnmatch(name, arguments.only):
            continue
        if needs & missing:
            print(f"{name:40s}{', '.join(sorted(needs & missing))} is not installed")
            continue
        found, expected = measured(name), estimated(case)
        pairs = [(found[phase], expected[phase]) for phase in PHASES]
        pairs.append((max(found.values()), max(expected.values())))
        shown = "".join(f"{ours / 2**20:8.0f}{theirs / 2**20:8.0f}" for ours, theirs in pairs)
        print(f"{name:40s}{shown} {100 * (pairs[-1][1] / pairs[-1][0] - 1):+.0f} %", flush=True)
        rows.append(
            {
                "name": f"estimated memory, {name}",
                "ours": pairs[-1][1] / 2**20,
                "theirs": pairs[-1][0] / 2**20,
                "ratio": pairs[-1][1] / pairs[-1][0],
                "unit": "MiB (theirs: measured)",
                "command": "python bench/memory.py",
            }
        )
    record(rows, shown=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="*", help="cases whose names match")
    parser.add_argument("--case", help="measure one case in this process; needs --folder")
    parser.add_argument("--folder", help="for its model and its result")
    return parser.parse_args()


def measured(name: str) -> dict[str, int]:
    """Measure a case in processes of its own; of several, the first one's peaks."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        write_model(case, Path(folder) / "model")
        command = [sys.executable]
        if case.processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(case.processes)]
        command += [__file__, "--case", name, "--folder", folder]
        environment = {**os.environ, **TRACED_LOADING, "OMP_NUM_THREADS": "1"}
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if ran.returncode:
            raise SystemExit(f"{name}: {ran.stderr[-3000:]}")
        peaks: dict[str, int] = json.loads((Path(folder) / "peaks.json").read_text())
    return {phase: peaks[phase] for phase in PHASES}


def write_model(case: Case, folder: Path) -> None:
    """Write a Llama with random weights, in another precision than it is read in: the same would be mapped.

    DeepSpeed reads bf16 for a run in bf16; everything else is read in fp32.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from astarpo.model.scratch import byte_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[case.shape], bos_token_id=None, eos_token_id=1, pad_token_id=0)
    read_in_bf16 = (case.settings.get("engine"), case.settings.get("precision")) == ("deepspeed", "bfloat16")
    LlamaForCausalLM(config).to(torch.float32 if read_in_bf16 else torch.bfloat16).save_pretrained(folder)
    byte_tokenizer([], 128).save_pretrained(folder)


def make_settings(case: Case) -> tuple[TrainSettings, MachineSettings]:
    """The settings of a case."""
    from astarpo.common.machine import MachineSettings
    from astarpo.model.settings import Lora
    from bench.setting import train_settings

    told = {"method": "a_star_po", "hyperparameters": {"beta2": 1e-3}, "prompts_per_batch": 8, **case.settings}
    if "lora" in told:
        told["lora"] = Lora(**told["lora"])
    named = (told.pop(name) for name in ("method", "hyperparameters", "prompts_per_batch"))
    settings = train_settings(*named, told.pop("responses_per_prompt", 1), case.response, **told)
    machine = {"micro_batch": 4, "sampling_batch": 64, "devices": case.processes, **case.machine}
    return settings, MachineSettings(**machine)


def estimated(case: Case) -> dict[str, float]:
    """The estimate of a case by phase; the optimizer step counts as part of the update."""
    from astarpo.memory.shape import ModelShape
    from astarpo.memory.training import training
    from astarpo.training.memory import PromptLengths, workload_of

    settings, machine = make_settings(case)
    shape = ModelShape.of(SHAPES[case.shape])
    assert shape is not None
    work = workload_of(settings, shape, PromptLengths(case.prompt))
    phases = training(shape, work, machine, case.processes, bucket=BUCKET).by_phase()
    phases["update"] = max(phases["update"], phases.pop("step"))
    return phases


def run(case: Case, folder: Path) -> None:
    """Do what a training does, and write the peaks of its phases."""
    import torch

    from astarpo.model.world import World, join_world
    from bench.training import train

    settings, machine = make_settings(case)
    torch.set_num_threads(1)
    if settings.engine == "deepspeed":
        from astarpo.training.deepspeed import optimizer

        made = optimizer.deepspeed_config

        def with_small_bucket(*args: Any) -> dict[str, Any]:
            config: dict[str, Any] = made(*args)
            config["zero_optimization"]["reduce_bucket_size"] = BUCKET
            return config

        optimizer.deepspeed_config = with_small_bucket
    world = join_world("cpu") if settings.engine == "deepspeed" else World()
    allocations = Allocations()
    with allocations.tracing() as phase:
        train(folder / "model", settings, machine, world, case.prompt, phase, folder / "exported")
    if world.is_first:
        (folder / "peaks.json").write_text(json.dumps(allocations.peaks))


if __name__ == "__main__":
    main()
