"""Measure log-probabilities in chunks against all logits at once: extra peak memory and time.

    python bench/logprobs.py [--tokens 8192] [--chunks 128,512]

Qwen2.5's vocabulary, hidden size 256, fp32, forward and backward for hidden states and head, with the detached
entropy that training records. Each side runs in its own process, so that their memory is measured separately.
If the plain side runs out of memory, both are measured on half the tokens.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]

COMMAND = "python bench/logprobs.py"
VOCABULARY, HIDDEN, ROUNDS = 151_936, 256, 3


def main() -> None:
    """Measure the plain side, then each chunk size; the first is the one that is recorded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=4 * 2048, help="response tokens of both sides")
    parser.add_argument("--chunks", default="512", help="chunk sizes, separated by commas")
    parser.add_argument("--side", type=int, help="measure one side here: its chunk size; 0 is plain")
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(*_measure(arguments.side, arguments.tokens))
        return
    tokens = arguments.tokens
    while (plain := _in_a_process(0, tokens)) is None:
        print(f"{tokens:,} tokens do not fit the plain side", flush=True)
        tokens //= 2
    for chunk in map(int, arguments.chunks.split(",")):
        ours = _in_a_process(chunk, tokens)
        assert ours is not None, f"chunks of {chunk} do not fit"
        _record(f"{tokens:,} tokens in chunks of {chunk}", ours, plain)


def _record(what: str, ours: tuple[float, float], plain: tuple[float, float]) -> None:
    from report import Measured, record

    rows: list[Measured] = [
        {
            "name": f"log-probs, {what}: {part}",
            "ours": one,
            "theirs": other,
            "ratio": other / one,
            "unit": unit,
            "command": COMMAND,
        }
        for part, unit, one, other in zip(("extra peak memory", "time"), ("GiB", "s"), ours, plain, strict=True)
    ]
    record(rows)


def _in_a_process(chunk: int, tokens: int) -> tuple[float, float] | None:
    """(GiB, seconds) of one side; None if memory does not suffice."""
    command = [sys.executable, __file__, "--side", str(chunk), "--tokens", str(tokens)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode and "emory" not in ran.stderr and ran.returncode != -9:
        sys.exit(ran.stderr)
    if ran.returncode:
        return None
    memory, seconds = map(float, ran.stdout.split())
    return memory, seconds


def _measure(chunk: int, tokens: int) -> tuple[float, float]:
    """Peak memory in GiB beyond weights, gradients and hidden states, and the best time in seconds."""
    import torch

    from astarpo.model.chunked_log_probs import Chunking, Head, log_probs_of_hidden

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    _stay_within_free_memory()
    random = torch.Generator().manual_seed(0)
    hidden_NH = torch.randn(tokens, HIDDEN, generator=random).requires_grad_()
    linear = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    labels_N = torch.randint(VOCABULARY, (tokens,), generator=random)
    hidden_NH.grad, linear.weight.grad = (
        torch.zeros_like(hidden_NH),
        torch.zeros_like(linear.weight),
    )
    head, how = Head(linear, 1.0, None), Chunking(0.7, chunk, "detached")
    before, seconds = _peak(), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        if chunk:
            log_probs_N, _ = log_probs_of_hidden(hidden_NH, labels_N, head, how)
        else:
            log_probs_N = _plain(linear(hidden_NH), labels_N, 0.7)
        log_probs_N.square().sum().backward()
        seconds.append(time.perf_counter() - started)
    return (_peak() - before) / 2**30, min(seconds)


def _plain(logits_NV: Tensor, labels_N: Tensor, temperature: float) -> Tensor:
    """Like `astarpo.model.log_probs` without a head, for the logits of the response tokens alone."""
    all_log_probs_NV = (logits_NV.float() / temperature).log_softmax(-1)
    detached_NV = all_log_probs_NV.detach()
    _entropy_N = -(detached_NV.exp() * detached_NV).sum(-1)
    return all_log_probs_NV.gather(-1, labels_N[:, None])[:, 0]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _stay_within_free_memory() -> None:
    """Make a side that is too large fail early, as other processes use this machine as well."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    mapped = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = int(0.9 * free) + mapped * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
