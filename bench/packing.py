"""Time passes over a rollout whose rows are padded, and laid end to end, in the micro-batches of a training.

    python bench/packing.py [--model tiny] [--repeats 5]

Both ways run in turn, in one process, on random models: the demo's shape, and SmolLM2-135M's. Lengths are drawn, rows
are sorted by length and cut as a training cuts them. Prints the least seconds of CPU time of each way, and their ratio.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

from astarpo.model.chunked_log_probs import find_head  # noqa: E402 (the path comes first)
from astarpo.model.log_probs import token_log_probs  # noqa: E402
from astarpo.training.microbatches import MicroBatch, micro_batches  # noqa: E402
from bench.prefix import SHAPE  # noqa: E402
from bench.report import Measured, record  # noqa: E402

TINY = {"vocab_size": 259, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True}


@dataclass(frozen=True)
class Case:
    """A model and its rollout; prompts and responses have log-normal lengths.

    Attributes:
        shape: of a Llama.
        rows: of the rollout.
        size: `machine.micro_batch`.
        prompt, response: medians of their lengths.
        sigma: standard deviation of the logarithms.
        longest: response.
    """

    shape: dict[str, object]
    rows: int
    size: int
    prompt: int
    response: int
    sigma: float
    longest: int

    def draw(self) -> tuple[list[list[int]], list[list[int]]]:
        """Draw prompts and responses."""
        drawn = random.Random(0)

        def text(median: int, most: int) -> list[int]:
            length = min(most, max(2, round(drawn.lognormvariate(math.log(median), self.sigma))))
            return [drawn.randrange(3, 250) for _ in range(length)]

        prompts = [text(self.prompt, 4 * self.prompt) for _ in range(self.rows)]
        return prompts, [text(self.response, self.longest) for _ in range(self.rows)]


CASES = {
    "tiny": Case(TINY, 128, 32, 10, 16, 0.4, 40),
    "tiny, one micro-batch": Case(TINY, 32, 32, 10, 16, 0.4, 40),
    "SmolLM2": Case(SHAPE, 16, 4, 50, 60, 0.5, 96),
}


def score(model: torch.nn.Module, some: list[MicroBatch], gradient: bool) -> tuple[float, list[Tensor]]:
    """Make the passes over all micro-batches.

    Returns:
        Seconds of CPU time; and each micro-batch's log-probabilities, with ``gradient`` the gradients of their sum.
    """
    head = find_head(model)  # outside the time
    assert not isinstance(head, str), head
    found: list[Tensor] = []
    started = time.process_time()
    for one in some:
        with torch.set_grad_enabled(gradient):
            found_BT, _ = token_log_probs(model, one.batch, 1.0, "none", head, 512)
        if gradient:
            found_BT.sum().backward()
        else:
            found.append(found_BT)
    taken = time.process_time() - started
    if gradient:
        found = [weight.grad for weight in model.parameters() if weight.grad is not None]
        model.zero_grad(set_to_none=True)
    return taken, found


def difference(some: list[Tensor], others: list[Tensor]) -> float:
    """Return the largest difference between two lists of tensors, relative to the largest number in the first."""
    pairs = list(zip(some, others, strict=True))
    return max(float((one - other).abs().max()) for one, other in pairs) / max(float(one.abs().max()) for one in some)


def compare(name: str, case: Case, repeats: int) -> list[Measured]:
    """Measure both ways in turn, and how far what they compute differs."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**case.shape), trust_remote_code=False).eval()
    prompts, responses = case.draw()
    told = prompts, responses, range(case.rows), None, (case.size, None), [1], torch.device("cpu"), 1
    ways = {packed: micro_batches(*told, packed=packed) for packed in (False, True)}
    read = sum(one.batch.input_ids_BS.numel() for one in ways[False])
    tokens = sum(map(len, (*prompts, *responses)))
    share, passes = tokens / read, len(ways[False])
    print(f"{name}: {case.rows} rows in {passes} micro-batches; {share:.2f} of what padded ones read are tokens")
    measured: list[Measured] = []
    for what, gradient in (("without gradient", False), ("with gradient", True)):
        # The first round warms up.
        apart = difference(*(score(model, some, gradient)[1] for some in ways.values()))
        rounds = [[score(model, some, gradient)[0] for some in ways.values()] for _ in range(repeats)]
        padded, packed = map(min, zip(*rounds, strict=True))
        print(
            f"{name}, {what}: {padded:.3f} s padded, {packed:.3f} s packed: {padded / packed:.2f} times as fast; "
            f"{'gradients' if gradient else 'log-probabilities'} differ by up to {apart:.1e} of the largest",
            flush=True,
        )
        named, command = f"packed passes {what}, {name}", f"python bench/packing.py --repeats {repeats}"
        measured.append(
            Measured(name=named, ours=packed, theirs=padded, ratio=padded / packed, unit="s", command=command)
        )
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CASES, "all"], default="all", help="case (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each way (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = {name: case for name, case in CASES.items() if arguments.model in (name, "all")}
    record([one for name, case in chosen.items() for one in compare(name, case, arguments.repeats)], shown=False)


if __name__ == "__main__":
    main()
