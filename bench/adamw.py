"""Time AdamW's step on a CPU as trainings make it, a loop over weights, and fused; compare what both leave behind.

    python bench/adamw.py [--model tiny] [--rounds 7]

Both start from the same random weights and take the same gradients, in turn, in one process. Prints the least CPU time
of a step, and how many weights differ after the last one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import AutoModelForCausalLM, LlamaConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from bench.packing import TINY  # noqa: E402 (the path comes first)
from bench.prefix import SHAPE  # noqa: E402
from bench.report import Measured, record  # noqa: E402

SHAPES = {"tiny": TINY, "SmolLM2": SHAPE}
WAYS = {"loop": None, "fused": True}
SCALE = 1e-3  # of the gradients


def shapes_of(name: str) -> list[torch.Size]:
    """The shapes of a model's weights, of which none is made."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPES[name]), trust_remote_code=False)
    return [weight.shape for weight in model.parameters()]


def drawn(shapes: list[torch.Size], scale: float, seed: int) -> list[Tensor]:
    """Random tensors of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator) for shape in shapes]


def step_s(optimizer: torch.optim.Optimizer, weights: list[Parameter], gradients: list[Tensor]) -> float:
    """Make a step; returns its seconds of CPU time."""
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    started = time.process_time()
    optimizer.step()
    return time.process_time() - started


def compare(name: str, rounds: int) -> Measured:
    """Measure both ways in turn."""
    shapes = shapes_of(name)
    weights = {way: [Parameter(one) for one in drawn(shapes, 0.02, 0)] for way in WAYS}
    made = {
        way: torch.optim.AdamW(weights[way], lr=1e-6, betas=(0.9, 0.95), weight_decay=0.01, fused=fused)
        for way, fused in WAYS.items()
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        gradients = drawn(shapes, SCALE, 1 + number)
        for way, optimizer in made.items():
            taken = step_s(optimizer, weights[way], gradients)
            if number:  # the first makes the moments
                seconds[way].append(taken)
    differing, total, most = difference(weights["loop"], weights["fused"])
    loop, fused = min(seconds["loop"]), min(seconds["fused"])
    print(f"{name}: {1e3 * loop:.2f} ms in a loop, {1e3 * fused:.2f} ms fused: {loop / fused:.2f} times as fast")
    print(f"  after {rounds + 1} steps {differing:,} of {total:,} weights differ, by at most {most:.1e}", flush=True)
    command = f"python bench/adamw.py --rounds {rounds}"
    return Measured(name=f"AdamW, {name}", ours=loop, theirs=fused, ratio=fused / loop, unit="s", command=command)


def difference(some: list[Parameter], others: list[Parameter]) -> tuple[int, int, float]:
    """How many weights differ, of how many, and by how much at most."""
    pairs = list(zip(some, others, strict=True))
    with torch.no_grad():
        differing = sum(int((one != other).sum()) for one, other in pairs)
        most = max(float((one - other).abs().max()) for one, other in pairs)
    return differing, sum(one.numel() for one in some), most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*SHAPES, "all"], default="all", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="measured steps of each way (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record([compare(name, arguments.rounds) for name in SHAPES if arguments.model in (name, "all")], shown=False)


if __name__ == "__main__":
    main()
