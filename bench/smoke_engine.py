"""What `bench/smoke_gpu.py` asks the engines themselves, each question in a process of its own; prints JSON.

python bench/smoke_engine.py log-probs SAMPLES DATASET MODEL DEVICE PRECISION
python bench/smoke_engine.py sleep DATASET MODEL DEVICE PRECISION
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

if TYPE_CHECKING:
    from astarpo.model.policy import Policy
    from astarpo.sampling import Request

AT_ONCE = 128  # responses
TOKENS = 32  # of a response
SHARE = 0.3  # of the card, as beside a trained policy


def main(question: str, *arguments: str) -> None:
    """Answer one question."""
    answers: dict[str, Callable[..., dict[str, Any]]] = {"log-probs": log_probs, "sleep": sleep}
    print(json.dumps(answers[question](*arguments)))


def log_probs(samples: str, dataset: str, model: str, device: str, precision: str) -> dict[str, list[float]]:
    """Compute with torch, as a training does, the log-probability of each response that vLLM drew."""
    import torch

    from astarpo.model.loading import load_policy
    from astarpo.model.log_probs import collate, token_log_probs
    from astarpo.model.precision import to_bfloat16
    from bench.smoke_checks import rows_of

    policy = load_policy(model, device)
    policy.model.eval()
    if precision == "bfloat16":
        to_bfloat16(policy.model)
    prompts = {row["prompt_id"]: encoded(policy, row["prompt"]) for row in rows_of(Path(dataset))}
    rows = rows_of(Path(samples))
    sums: list[float] = []
    with torch.no_grad():
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            responses = [row["response_token_ids"] for row in some]
            batch = collate([prompts[row["prompt_id"]] for row in some], responses, policy.end_token_ids, device)
            sums += token_log_probs(policy.model, batch, 1.0)[0].sum(dim=1).tolist()
    return {
        "vllm": [row["logprob_sum"] for row in rows],
        "torch": sums,
        "tokens": [row["n_tokens"] for row in rows],
    }


def sleep(dataset: str, model: str, device: str, precision: str) -> dict[str, Any]:
    """Draw with vLLM awake and after each sleep level, with the model's weights and after an update of them."""
    import torch

    from astarpo.model.loading import load_policy
    from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler
    from bench.smoke_checks import rows_of

    policy = load_policy(model, device)
    machine = VllmMachine(device, batch_size=AT_ONCE, memory_share=SHARE, sleep_level=1)
    asked = requests(policy, [row["prompt"] for row in rows_of(Path(dataset))])
    longest = max(len(one.prompt_token_ids) for one in asked) + TOKENS
    sampler = VllmSampler(model, policy.tokenizer, policy.end_token_ids, precision, longest, machine, policy.model)

    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    found: dict[str, Any] = {"tokens": drawn(sampler, asked)}
    update(policy)
    sampler.weights_changed()
    found["tokens_after_update"] = drawn(sampler, asked)
    found["levels"] = {}
    for level in (1, 2):
        sampler.machine = replace(machine, sleep_level=level)
        policy.model.load_state_dict(before)
        sampler.weights_changed()
        drawn(sampler, asked)
        free = torch.cuda.mem_get_info()[0]
        sampler.rest()
        freed = torch.cuda.mem_get_info()[0] - free
        slept: dict[str, Any] = {"freed_bytes": freed, "tokens": drawn(sampler, asked)}
        sampler.rest()
        update(policy)
        sampler.weights_changed()
        found["levels"][str(level)] = {**slept, "tokens_after_update": drawn(sampler, asked)}
    return found


def requests(policy: Policy, prompts: list[str]) -> list[Request]:
    """One request for each prompt, with its own seed."""
    from astarpo.sampling import Request

    return [Request(str(number), 0, number, encoded(policy, prompt)) for number, prompt in enumerate(prompts)]


def encoded(policy: Policy, prompt: str) -> list[int]:
    """The tokens of a prompt."""
    ids: list[int] = policy.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return ids


def drawn(sampler: Any, asked: list[Request]) -> list[list[int]]:
    """The tokens of one response to each request."""
    from astarpo.sampling.settings import SamplingSettings

    how = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=TOKENS)
    return [one.token_ids for one in sampler.sample(asked, how)]


def update(policy: Policy) -> None:
    """Move every weight, far enough for other tokens to be drawn; the same way each time."""
    import torch

    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
