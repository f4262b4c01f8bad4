"""What a seed of each request and log-probabilities cost in vLLM, on a CPU: microseconds for each token, as ratios.

One engine, started as a training starts it, draws the same prompts in several ways, which take turns; each response has
the same number of tokens. Medians over the rounds. Needs vLLM: ``.venv-engines/bin/python bench/vllm_sampling.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput

    from astarpo.sampling.vllm_engine import VllmSampler

SAMPLES = 8  # of each prompt
PROMPT = [5 + index % 200 for index in range(70)]
# What is changed in the parameters that `VllmSampler` gives to vLLM.
WAYS: dict[str, dict[str, Any]] = {
    "seed and log-probabilities, as in a training": {},
    "without log-probabilities": {"logprobs": None, "flat_logprobs": False},
    "log-probabilities as dictionaries": {"flat_logprobs": False},
    "without a seed": {"seed": None},
    "without both": {"seed": None, "logprobs": None, "flat_logprobs": False},
}


def main() -> None:
    arguments = _arguments()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sampler = _start(Path(folder), arguments.requests, arguments.tokens)
        _show_prefix(sampler, arguments.tokens)
        _measure(sampler, arguments.requests, arguments.tokens, arguments.rounds)


def _measure(sampler: VllmSampler, requests: int, tokens: int, rounds: int) -> None:
    """Draw in all ways, in turn, and show microseconds of this process's CPU for each token."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):  # the first one warms up
        for way, changes in WAYS.items():
            seconds = _draw(sampler, requests, tokens, changes)
            if number:
                took[way].append(seconds)
    _show({way: 1e6 * statistics.median(seconds) / (requests * tokens) for way, seconds in took.items()})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=256, help="responses drawn at a time")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of each response")
    parser.add_argument("--rounds", type=int, default=5, help="times that each way takes its turn")
    return parser.parse_args()


def _start(folder: Path, requests: int, tokens: int) -> VllmSampler:
    """Start vLLM with a random model of 0.7 million weights."""
    from astarpo.model.scratch import build_scratch_policy
    from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler

    policy = build_scratch_policy(
        seed=0,
        layers=4,
        hidden_size=128,
        intermediate_size=320,
        heads=4,
        kv_heads=2,
        max_positions=256,
        whole_tokens=["\\boxed{"],
    )
    policy.save(folder / "model")
    machine = VllmMachine("cpu", batch_size=requests, memory_share=0.02)
    longest = len(PROMPT) + tokens
    return VllmSampler(folder / "model", policy.tokenizer, [], "float32", longest, machine)


def _draw(sampler: VllmSampler, requests: int, tokens: int, changes: dict[str, Any]) -> float:
    """CPU seconds in which responses are drawn to prompts of which each is asked `SAMPLES` times."""
    from vllm import SamplingParams

    from astarpo.sampling import Request
    from astarpo.sampling.settings import SamplingSettings
    from astarpo.sampling.vllm_parameters import parameters as told

    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=tokens)
    asked = [Request(f"p{row // SAMPLES}", row % SAMPLES, row, [5 + row // SAMPLES % 200]) for row in range(requests)]
    parameters = [SamplingParams(**{**told(one.seed, settings, sampler.end_token_ids), **changes}) for one in asked]
    sampler.engine.reset_prefix_cache()
    started = time.process_time()  # other programs may run beside
    prompts = [{"prompt_token_ids": one.prompt_token_ids} for one in asked]
    drawn = sampler.engine.generate(prompts, parameters, use_tqdm=False)
    read = [_log_probs(one.outputs[0]) for one in drawn]
    seconds = time.process_time() - started
    assert all(len(one.outputs[0].token_ids) == tokens for one in drawn)
    assert parameters[0].logprobs is None or all(len(one) == tokens for one in read)
    return seconds


def _log_probs(output: CompletionOutput) -> list[float]:
    if output.logprobs is None:
        return []
    if isinstance(output.logprobs, list):
        pairs = zip(output.logprobs, output.token_ids, strict=True)
        return [float(at[token].logprob) for at, token in pairs if at is not None]
    return [float(value) for value in output.logprobs.logprobs]


def _show(microseconds: dict[str, float]) -> None:
    usual = microseconds[next(iter(WAYS))]
    print(f"{'':48s}{'us a token':>12s}{'ratio':>8s}")
    for way, spent in microseconds.items():
        print(f"{way:48s}{spent:12.1f}{spent / usual:8.2f}")


def _show_prefix(sampler: VllmSampler, tokens: int) -> None:
    """Count the prompt's tokens that several samples of it, in one call, have from the prefix cache."""
    from vllm import SamplingParams

    sampler.engine.reset_prefix_cache()
    asked = [SamplingParams(max_tokens=tokens, seed=row, detokenize=False) for row in range(SAMPLES)]
    drawn = sampler.engine.generate([{"prompt_token_ids": PROMPT}] * SAMPLES, asked, use_tqdm=False)
    cached = sorted(one.num_cached_tokens or 0 for one in drawn)
    print(f"{SAMPLES} samples of a prompt of {len(PROMPT)} tokens; from the cache, each: {cached}")


if __name__ == "__main__":
    main()
