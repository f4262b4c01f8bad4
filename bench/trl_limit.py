"""Compare steps of ours with the least time that their arithmetic allows on this machine, by phase.

    python bench/trl_limit.py --case tiny smollm2 few-shot grpo [--threads 2] [--compile]

The limit of a phase has its matrix products at the highest speed measured here, whatever their shape, each beginning of
prompts once, and no padding; while tokens are drawn, all weights are read at least once for each position; AdamW reads
weight, gradient and two moments, and writes three of them. Responses count as if all had the mean length.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from trl_cases import PHASES, SAMPLES, Measurement, add_options, chosen

from report import Measured, record

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from trl_speed import in_a_process
from trl_terms import problems

from astarpo.memory.check import shape_of_folder
from astarpo.memory.shape import ModelShape
from astarpo.training.flops import attention_flops, matrices_flops
from astarpo.training.peak_flops import measured_flops

FLOAT_BYTES = 4
ADAMW_TRANSFERS = 7  # of one number for each weight
TRIES = 5


@dataclass(frozen=True)
class Peaks:
    """What the machine does at best: FLOP/s of matrix products, and bytes/s of weights in products with one row."""

    flops: float
    bytes_per_s: float


@dataclass(frozen=True)
class Batch:
    """What a stage draws and scores.

    Attributes:
        prompt_tokens: of all prompts, each shared beginning once.
        rows: responses.
        response_tokens: of a response.
        length: tokens of a prompt with its response.
    """

    prompt_tokens: int
    rows: int
    response_tokens: float
    length: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[Measured] = []
    for name, case in chosen(arguments).items():
        shape = shape_of_folder(case.model)
        assert shape is not None, case.model
        peaks = measured_peaks(shape, case.micro_batch * case.tokens)
        print(f"{name}: {peaks.flops / 1e9:.4g} GFLOP/s at best, {peaks.bytes_per_s / 1e9:.4g} GB/s", flush=True)
        for stage in case.stages:
            asked = Measurement(case, stage, arguments.threads, arguments.compile, 0, arguments.packing)
            threads = f"{arguments.threads} thread{'s' * (arguments.threads > 1)}"
            rows += beside_limit(f"{name}, {threads}", asked, shape, peaks)
    for row in rows:
        row["command"] = "python bench/trl_limit.py " + " ".join(sys.argv[1:])
        print(f"{row['name']}: {row['ours']:.4g} s, at least {row['theirs']:.4g} s: {row['ratio']:.0%}", flush=True)
    record(rows, shown=False)


def beside_limit(name: str, asked: Measurement, shape: ModelShape, peaks: Peaks) -> list[Measured]:
    """Measure a stage of ours, and compute the least seconds of its phases."""
    case, stage = asked.case, asked.stage
    numbers = in_a_process("ours", asked)
    batch = batch_of(asked, numbers["tokens of a response"])
    least = least_seconds(shape, batch, peaks)
    spent = (
        {phase: numbers[phase] for phase in PHASES} if stage == "stage 2" else {"generate": batch.rows / numbers[stage]}
    )
    how = f"{name}{', compiled' * asked.compiled}{', packed' * asked.packed}"
    return [
        {
            "name": f"{case.method}, {how}: limit of {stage}, {phase}",
            "ours": seconds,
            "theirs": least[phase],
            "ratio": least[phase] / seconds,
            "unit": "s, and the least possible",
            "command": "",
        }
        for phase, seconds in spent.items()
    ]


def batch_of(asked: Measurement, response_tokens: float) -> Batch:
    """Describe what a stage draws; one of its steps, in stage 2."""
    from astarpo.model.loading import load_tokenizer

    case, stage = asked.case, asked.stage
    count, responses = (case.stage1_prompts, SAMPLES) if stage == "stage 1" else (case.prompts, case.responses)
    tokenizer = load_tokenizer(case.model)
    prompts = [tokenizer(row["prompt"], add_special_tokens=False)["input_ids"] for row in problems(asked)[:count]]
    length = sum(map(len, prompts)) / count + response_tokens
    return Batch(distinct_tokens(prompts), count * responses, response_tokens, length)


def distinct_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """Count the tokens of some prompts, those of a beginning that several have once."""
    return len({tuple(prompt[: end + 1]) for prompt in prompts for end in range(len(prompt))})


def least_seconds(shape: ModelShape, batch: Batch, peaks: Peaks) -> dict[str, float]:
    """Compute the least seconds of each phase.

    Args:
        shape: of the model, with fp32 weights.
        batch: what is drawn, or trained on.
        peaks: of the machine.
    """
    weights = shape.linear + shape.embeddings
    drawn = batch.rows * batch.response_tokens
    tokens = batch.prompt_tokens + drawn
    one_pass = matrices_flops(shape, tokens, drawn) + attention_flops(shape, tokens, batch.length)
    prompts = matrices_flops(shape, batch.prompt_tokens, 0) + attention_flops(shape, tokens, batch.length)
    position_s = max(2 * weights * batch.rows / peaks.flops, FLOAT_BYTES * weights / peaks.bytes_per_s)
    adamw_s = ADAMW_TRANSFERS * FLOAT_BYTES * shape.parameters / peaks.bytes_per_s
    return {
        "generate": prompts / peaks.flops + batch.response_tokens * position_s,
        "reference": one_pass / peaks.flops,
        "update": 3 * one_pass / peaks.flops + adamw_s,
    }


def measured_peaks(shape: ModelShape, tokens: int) -> Peaks:
    """Measure products of the model's shapes, which are printed, and of large squares; and reading all its weights.

    Args:
        shape: of the model.
        tokens: rows of the products, as in a micro-batch.
    """
    found = [measured_flops("cpu", torch.float32)]
    for name, (inner, outer) in widths(shape).items():
        states, weights = torch.ones(tokens, inner), torch.ones(outer, inner)
        found.append(2 * tokens * inner * outer / shortest(lambda: states @ weights.T))  # noqa: B023
        print(f"  {name}, {tokens} x {inner} x {outer}: {found[-1] / 1e9:.4g} GFLOP/s", flush=True)
    matrix, vector = torch.ones(shape.parameters // shape.hidden, shape.hidden), torch.ones(shape.hidden)
    return Peaks(max(found), matrix.numel() * FLOAT_BYTES / shortest(lambda: torch.mv(matrix, vector)))


def widths(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Return the inputs and outputs of a model's matrices, by what they compute."""
    return {
        "queries and output": (shape.hidden, shape.query_width),
        "keys and values": (shape.hidden, shape.kv_width),
        "up": (shape.hidden, shape.intermediate),
        "down": (shape.intermediate, shape.hidden),
        "head": (shape.hidden, shape.vocabulary),
    }


def shortest(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest of some calls."""
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
