"""Measure the update and reference passes of each method at the shape of Qwen2.5-1.5B, with random weights.

    python bench/gpu.py                       # one NVIDIA GPU with 80 GB; six minutes on an H100
    python bench/gpu.py --device cpu --shape tiny --prompts 4 --prompt-tokens 8 --response-tokens 16

The paper's batch: 256 prompts of up to 256 tokens, responses of up to 1024. Tokens a second of both passes, their share
of the fastest matrix product measured on the device, and peak memory; log-probabilities in chunks against all logits at
once. Nothing is sampled: responses are random tokens of random lengths. Each case runs in its own process.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]

if TYPE_CHECKING:
    from astarpo.training.engine import TorchEngine
    from astarpo.training.phases import PhaseClock
    from astarpo.training.settings import TrainSettings
    from report import Measured


class Measures(TypedDict):
    """What one case measures: the speed of two passes, and peak memory."""

    reference: dict[str, float]
    update: dict[str, float]
    gib: float


SHAPES = {
    "qwen2.5-1.5b": {
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "vocab_size": 151_936,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "vocab_size": 300,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
    },
}
CLIPPED = {"clip": 0.2, "kl_coefficient": 1e-3}
GRPO = {**CLIPPED, "clip_high": 0.2, "scale_by_std": True, "std_epsilon": 1e-6, "average": "sequences"}
PPO = {**CLIPPED, "critic_lr": 1e-5, "value_clip": 0.5, "gamma": 1.0, "gae_lambda": 1.0}
CHUNK = 512
# name: method, its settings, responses a prompt, response tokens whose logits exist at a time
CASES: dict[str, tuple[str, Mapping[str, object], int, int | None]] = {
    "a-star-po": ("a_star_po", {"beta2": 1e-3}, 1, CHUNK),
    "a-star-po, all logits at once": ("a_star_po", {"beta2": 1e-3}, 1, None),
    "grpo-2": ("grpo", GRPO, 2, CHUNK),
    "rebel": ("rebel", {"eta": 1.0}, 2, CHUNK),
    "ppo": ("ppo", PPO, 1, CHUNK),
    "grpo-8": ("grpo", GRPO, 8, CHUNK),
}


def main() -> None:
    arguments = parse()
    if arguments.case:
        print(json.dumps(measure(arguments)))
        return
    peak = json.loads(in_a_process("matmul"))["teraflops"]
    print(f"{device_name(arguments.device)}: fastest matrix product {peak:.3g} TFLOP/s, {arguments.precision}")
    print("case                           reference             update                peak memory")
    for name in CASES:
        try:
            case = json.loads(in_a_process(name))
        except RuntimeError as error:
            print(f"{name:30s} {error}", flush=True)
            continue
        shown = [
            f"{case[part]['tokens_per_s']:9,.0f}/s {100 * case[part]['teraflops'] / peak:4.0f} %"
            for part in ("reference", "update")
        ]
        print(f"{name:30s} {shown[0]:21s} {shown[1]:21s} {case['gib']:.2f} GiB", flush=True)
        save(name, case, peak, arguments.device)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="device to measure on")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="qwen2.5-1.5b", help="of the model")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of passes")
    parser.add_argument("--prompts", type=int, default=256, help="in a batch")
    parser.add_argument("--prompt-tokens", type=int, default=256, help="longest prompt")
    parser.add_argument("--response-tokens", type=int, default=1024, help="longest response")
    parser.add_argument("--micro-batch-tokens", type=int, default=16_384, help="padding included")
    parser.add_argument("--case", help="measure one case here")
    return parser.parse_args()


def in_a_process(case: str) -> str:
    command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or ["it ended without a message"]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        raise RuntimeError(f"failed: {(errors or lines)[-1][:200]}")
    return ran.stdout.splitlines()[-1]


def device_name(device: str) -> str:
    from astarpo.common.provenance import hardware

    if device == "cpu":
        return f"CPU ({hardware()})"
    import torch

    return torch.cuda.get_device_name()


def save(name: str, case: Measures, peak: float, device: str) -> None:
    from report import record

    command = "python bench/gpu.py " + " ".join(sys.argv[1:])
    rows: list[Measured] = [
        {
            "name": f"{name}, {part} on {device_name(device)}",
            "ours": case[part]["tokens_per_s"],
            "theirs": None,
            "ratio": case[part]["teraflops"] / peak,
            "unit": "tokens/s",
            "command": command,
        }
        for part in ("reference", "update")
    ]
    rows.append(
        {
            "name": f"{name}, peak memory on {device_name(device)}",
            "ours": case["gib"],
            "theirs": None,
            "ratio": None,
            "unit": "GiB",
            "command": command,
        }
    )
    record(rows, shown=False)


def measure(arguments: argparse.Namespace) -> Measures | dict[str, float]:
    """Measure one case; ``matmul`` is the speed of the device itself."""
    import torch

    if arguments.case == "matmul":
        size = 8192 if arguments.device == "cuda" else 512
        kind = getattr(torch, arguments.precision)
        a, b = (torch.randn(size, size, device=arguments.device, dtype=kind) for _ in range(2))
        best = min(timed(lambda: a @ b, arguments.device) for _ in range(10))
        return {"teraflops": 2 * size**3 / best / 1e12}
    method, hyperparameters, responses, chunk = CASES[arguments.case]
    engine, settings = make_engine(arguments, method, hyperparameters, responses, chunk)
    return measure_engine(engine, settings, arguments)


def timed(work: Callable[[], object], device: str) -> float:
    import torch

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    started = now()
    work()
    return now() - started


def make_engine(
    arguments: argparse.Namespace,
    method: str,
    hyperparameters: Mapping[str, object],
    responses: int,
    chunk: int | None,
) -> tuple[TorchEngine, TrainSettings]:
    import torch
    from setting import train_settings
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from astarpo.model.loading import place
    from astarpo.model.policy import Policy
    from astarpo.training.engine import TorchEngine
    from astarpo.training.model_setup import recompute_activations

    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES[arguments.shape], attn_implementation="sdpa")
    with torch.device(arguments.device):
        policy = Policy(Qwen2ForCausalLM(config).float(), None, [0])
        reference = Policy(Qwen2ForCausalLM(config).float(), None, [0])
    reference.model.load_state_dict(policy.model.state_dict())
    place(policy.model, arguments.device)
    recompute_activations(policy.model)
    settings = train_settings(
        method,
        hyperparameters,
        arguments.prompts,
        responses,
        arguments.response_tokens,
        precision=arguments.precision,
        log_prob_chunk_tokens=chunk,
        weight_decay=0.01,
    )
    return TorchEngine(policy, reference, settings, 10**6, arguments.micro_batch_tokens), settings


def measure_engine(engine: TorchEngine, settings: TrainSettings, arguments: argparse.Namespace) -> Measures:
    """Time a reference pass and an update on a batch of random tokens, after warming up on a small batch."""
    import torch

    from astarpo.training.phases import PhaseClock

    on_gpu = arguments.device == "cuda"
    few = argparse.Namespace(**{**vars(arguments), "prompts": max(1, arguments.prompts // 64)})
    step(engine, settings, few, PhaseClock())
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    clock = PhaseClock()
    tokens = step(engine, settings, arguments, clock)
    weights = sum(weight.numel() for weight in engine.policy.model.parameters())
    used = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # Forward and backward take 6 operations per weight and token, a pass without gradients 2 (attention is left out).
    def speed(phase: str, operations: int) -> dict[str, float]:
        rate = tokens / clock.seconds[phase]
        return {"tokens_per_s": rate, "teraflops": operations * weights * rate / 1e12}

    return {"reference": speed("reference", 2), "update": speed("update", 6), "gib": used / 2**30}


def step(engine: TorchEngine, settings: TrainSettings, arguments: argparse.Namespace, clock: PhaseClock) -> int:
    """Do what the loop does after sampling; return the number of tokens of prompts and responses."""
    from astarpo.objectives import build_loss, build_prepare
    from astarpo.rewards.grading import Grade
    from astarpo.sampling import Completion
    from astarpo.training.prompts import TrainingPrompt
    from astarpo.training.rollout_scoring import build_rollout, make_passes
    from astarpo.training.rollouts import Responses
    from astarpo.training.running_statistics import RunningStatistics

    rng = random.Random(0)

    def ids(longest: int) -> list[int]:
        count = rng.randint(longest // 2, longest)
        return [rng.randrange(1, SHAPES[arguments.shape]["vocab_size"]) for _ in range(count)]

    size = settings.responses_per_prompt
    prompts = [
        TrainingPrompt(str(n), ids(arguments.prompt_tokens), "", "integer", 0.5) for n in range(arguments.prompts)
    ]
    repeated = [prompt for prompt in prompts for _ in range(size)]
    answers = [ids(arguments.response_tokens) for _ in repeated]
    drawn = Responses(
        repeated,
        [n // size for n in range(len(repeated))],
        [Completion(one, "", "stop", 0.0, []) for one in answers],
        [Grade(float(rng.random() < 0.5), "correct", None) for _ in repeated],
    )
    statistics = RunningStatistics(prompts, settings.hyperparameters)
    with clock.phase("passes"):
        passes = make_passes(engine, settings, drawn, range(len(repeated)), clock)
        rollout, micro_batches = build_rollout(settings, drawn, passes, statistics), passes.all_micro_batches
    targets = build_prepare(settings.method, settings.hyperparameters)(rollout)
    loss = build_loss(settings.method, settings.hyperparameters, arguments.response_tokens)
    width = max(map(len, answers))
    with clock.phase("again"):
        seconds = timed(lambda: engine.log_probs("reference", micro_batches, len(repeated), width), arguments.device)
    clock.seconds["reference"] = seconds
    clock.seconds["update"] = timed(
        lambda: engine.update(micro_batches, targets, passes.reference_BT, loss, 0),
        arguments.device,
    )
    return sum(len(p.token_ids) + len(a) for p, a in zip(repeated, answers, strict=True))


if __name__ == "__main__":
    main()
