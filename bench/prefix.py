"""Time sampling and training passes on few-shot prompts, with their shared beginning read once and by every row, and
passes on groups of responses, with the prompt of a group read once and by every row.

Both ways run in turn, in one process, on a random model of SmolLM2-135M's shape; prints the ratio of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

from astarpo.model import log_probs
from astarpo.model.chunked_log_probs import find_head
from astarpo.sampling import Request, transformers_engine
from astarpo.sampling.settings import SamplingSettings

SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
OWN_TOKENS, NEW_TOKENS = 6, 6


class NoText:
    """In place of a tokenizer: texts do not matter here."""

    pad_token_id = 0

    def decode(self, token_ids: list[int], skip_special_tokens: bool) -> str:
        """Return nothing."""
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=32, help="prompts in a batch (default: %(default)s)")
    parser.add_argument("--shared", type=int, default=60, help="tokens that they share (default: %(default)s)")
    parser.add_argument("--group", type=int, default=8, help="responses to a prompt (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each way (default: %(default)s)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE), trust_remote_code=False).eval()
    beginning = torch.randint(3, 40000, (arguments.shared,)).tolist()
    prompts = [[*beginning, *torch.randint(3, 40000, (OWN_TOKENS,)).tolist()] for _ in range(arguments.rows)]
    responses = [torch.randint(3, 40000, (NEW_TOKENS,)).tolist() for _ in prompts]
    # As long as the prompts above, but with nothing in common.
    lone = [torch.randint(3, 40000, (len(prompts[0]),)).tolist() for _ in range(arguments.rows // arguments.group)]
    groups = [prompt for prompt in lone for _ in range(arguments.group)]
    few_shot, head = log_probs.collate(prompts, responses, [1]), find_head(model)
    grouped = log_probs.collate(groups, responses[: len(groups)], [1])
    assert not isinstance(head, str), head

    def score(batch: log_probs.Batch, gradient: bool, share: bool) -> None:
        with torch.set_grad_enabled(gradient):
            found_BT, _ = log_probs.token_log_probs(model, batch, 1.0, "none", head, 512, None, share)
        if gradient:
            found_BT.sum().backward()
            model.zero_grad(set_to_none=True)

    def draw(share: bool) -> None:
        sampler = transformers_engine.TransformersSampler(model, NoText(), [1], arguments.rows)
        settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=NEW_TOKENS)
        asked = [Request(str(row), 0, row, prompt) for row, prompt in enumerate(prompts)]
        with mock.patch.object(transformers_engine, "can_share", return_value=share):
            sampler.sample(asked, settings)

    work: dict[str, Callable[[bool], None]] = {
        "sampling": draw,
        "pass of the reference": lambda share: score(few_shot, False, share),
        "pass of the policy, with gradient": lambda share: score(few_shot, True, share),
        "pass of the reference, groups": lambda share: score(grouped, False, share),
        "pass of the policy, with gradient, groups": lambda share: score(grouped, True, share),
    }
    print(f"{arguments.rows} prompts, {arguments.shared} shared tokens and {OWN_TOKENS} more, {NEW_TOKENS} new tokens")
    print(f"groups: {len(lone)} prompts of {len(prompts[0])} tokens, {arguments.group} responses each")
    for name, run in work.items():
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for number in range(arguments.repeats + 1):
            for share in seconds:
                started = time.perf_counter()
                run(share)
                if number:  # the first warms up
                    seconds[share].append(time.perf_counter() - started)
        apart, shared = (statistics.median(seconds[share]) for share in (False, True))
        print(f"{name}: {apart:.2f} s by every row, {shared:.2f} s once: {apart / shared:.1f} times as fast")


if __name__ == "__main__":
    main()
