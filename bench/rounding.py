"""What bfloat16 does to log-probabilities and to the gradient of an update, in copies of the weights and in autocast.

    python bench/rounding.py --model FOLDER [--tokens 96]

A model in float32 draws eight responses at temperature 1, to eight word problems, in its chat template. Then one A*-PO
update of these, in two micro-batches, is computed in float32, with copies in bfloat16 as a training has them, and in
autocast, in which the weights in float32 are rounded where they are used. Every second response is correct, and V* is
1/2. FOLDER is a model's, such as that of a reference: results/references/smollm2/model, which `snakemake --cores 1
--configfile config/recipes/arithmetic_smollm2.yaml -- reference` makes. Prints two tables; takes minutes on a CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from astarpo.common.machine import MachineSettings  # noqa: E402 (the path comes first)
from astarpo.model.loading import load_policy  # noqa: E402
from astarpo.model.world import World  # noqa: E402
from astarpo.objectives import build_loss  # noqa: E402
from astarpo.sampling import Request  # noqa: E402
from astarpo.sampling.settings import SamplingSettings  # noqa: E402
from astarpo.sampling.transformers_engine import TransformersSampler  # noqa: E402
from astarpo.training.job import make_engine  # noqa: E402
from bench.setting import train_settings  # noqa: E402

PROBLEMS = (
    "A baker sells 12 loaves in the morning and twice as many in the afternoon. How many loaves does she sell?",
    "Tom earns $9 an hour and works 40 minutes. How much does he earn?",
    "A scarf takes 3 balls of red wool and a third of that of white wool. How many balls does it take?",
    "Lena runs 4 laps of 300 metres twice a week. How many metres does she run in a week?",
    "A box has 6 rows of 8 eggs, and 5 eggs are broken. How many are whole?",
    "Three friends share 51 marbles equally. How many does each get?",
    "A train leaves with 120 people; a quarter get off, then 17 get on. How many are on the train?",
    "A book of 240 pages is read at 15 pages a day. How many days does that take?",
)
WAYS = {"autocast": "autocast", "bfloat16": "weights in bfloat16"}
BETA2 = {"beta2": 1e-3}
Drawn = tuple[list[list[int]], list[list[int]]]


@dataclass(frozen=True)
class Found:
    """Log-probabilities of all response tokens, and the gradient of each weight by name."""

    log_probs_N: Tensor
    gradients: dict[str, Tensor]


def draw(folder: Path, tokens: int) -> Drawn:
    """Draw a response to each problem; returns the tokens of prompts and responses."""
    policy = load_policy(folder)
    prompts = [
        list(
            policy.tokenizer.apply_chat_template(
                [{"role": "user", "content": problem}], add_generation_prompt=True, return_dict=False
            )
        )
        for problem in PROBLEMS
    ]
    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, len(prompts))
    requests = [Request(str(n), 0, n, prompt) for n, prompt in enumerate(prompts)]
    drawn = sampler.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens))
    return prompts, [list(one.token_ids) for one in drawn]


def compute(folder: Path, way: str, drawn: Drawn) -> Found:
    """Score the responses and compute an update's gradient, before it is clipped.

    Args:
        folder: of the model.
        way: ``float32`` or one of `WAYS`.
        drawn: by `draw`.
    """
    precision = "bfloat16" if way == "bfloat16" else "float32"
    prompts, responses = drawn
    width = max(map(len, responses))
    settings = train_settings("a_star_po", BETA2, len(prompts), 1, width, precision=precision)
    engine, _ = make_engine(folder, settings, MachineSettings(micro_batch=4), World(), 0)
    score = engine._score

    def scored(*args: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
            return score(*args)

    micro_batches = engine.micro_batches(prompts, responses, range(len(prompts)))
    with mock.patch.object(engine, "_score", scored), mock.patch.object(engine, "_step", return_value=0.0):
        reference_BT = engine.log_probs("reference", micro_batches, len(prompts), width)
        advantage_B = torch.tensor([0.5, -0.5] * (len(prompts) // 2))
        targets = {"advantage_B": advantage_B, "anchor_log_prob_B": reference_BT.sum(-1)}
        loss = build_loss("a_star_po", BETA2, width)
        engine.update(micro_batches, targets, reference_BT, loss, 0)
    names = [name for name, _ in engine.policy.model.named_parameters()]
    gradients = {name: weight.grad for name, weight in zip(names, engine.trained, strict=True)}
    mask_BT = torch.arange(width) < torch.tensor([[len(one)] for one in responses])
    return Found(reference_BT[mask_BT], {name: one for name, one in gradients.items() if one is not None})


def of_log_probs(exact_N: Tensor, found_N: Tensor) -> str:
    """Columns of errors in nats: mean, root of the mean square, 95th percentile, signed mean."""
    error_N = found_N - exact_N
    size_N = error_N.abs()
    root = error_N.square().mean().sqrt()
    return f"{size_N.mean():.4f} | {root:.4f} | {size_N.quantile(0.95):.3f} | {error_N.mean():.4f}"


def of_gradients(exact: dict[str, Tensor], found: dict[str, Tensor], names: Sequence[str]) -> str:
    """Columns for these weights: cosine, norm of the difference and norm, both over the norm in float32."""
    dot = sum(float((exact[name] * found[name]).sum(dtype=torch.float64)) for name in names)
    between, norm, of_exact = (
        sum(float(one(name).square().sum(dtype=torch.float64)) for name in names) ** 0.5
        for one in (lambda name: found[name] - exact[name], found.__getitem__, exact.__getitem__)
    )
    return f"{dot / (norm * of_exact):.5f} | {between / of_exact:.4f} | {norm / of_exact:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="of a model with a chat template")
    parser.add_argument("--tokens", type=int, default=96, help="longest response (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    drawn = draw(arguments.model, arguments.tokens)
    exact = compute(arguments.model, "float32", drawn)
    embeddings = [name for name in exact.gradients if "embed" in name or "head" in name]
    norms = [name for name in exact.gradients if "norm" in name]
    parts = {"all weights": list(exact.gradients), "embeddings and head": embeddings, "norms": norms}
    log_probs, gradients = [], []
    for way, title in WAYS.items():
        found = compute(arguments.model, way, drawn)
        log_probs.append(f"| {title} | {of_log_probs(exact.log_probs_N, found.log_probs_N)} |")
        for part, names in parts.items():
            gradients.append(f"| {part} | {title} | {of_gradients(exact.gradients, found.gradients, names)} |")
    print(f"{len(exact.log_probs_N)} tokens of {len(PROBLEMS)} responses\n")
    print("| error of a log-probability, nats | mean | root of the mean square | 95 % | signed mean |")
    print("\n".join(["| --- | ---: | ---: | ---: | ---: |", *log_probs, ""]))
    print("| gradient of | with | cosine | norm of the difference | norm |")
    print("\n".join(["| --- | --- | ---: | ---: | ---: |", *sorted(gradients)]))


if __name__ == "__main__":
    main()
