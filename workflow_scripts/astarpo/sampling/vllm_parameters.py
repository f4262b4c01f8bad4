"""What vLLM is told of each response."""

from __future__ import annotations

from collections.abc import Sequence

from astarpo.sampling.settings import SamplingSettings


def parameters(seed: int, settings: SamplingSettings, end_token_ids: Sequence[int]) -> dict[str, object]:
    """List every parameter of vLLM's ``SamplingParams``, as its defaults differ from ours.

    Args:
        seed: of the response.
        settings: temperature, nucleus and the longest response.
        end_token_ids: ids that end a response.
    """
    return {
        "n": 1,
        "seed": seed,
        "temperature": float(settings.temperature),
        "top_p": float(settings.top_p) if settings.temperature > 0 else 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": settings.max_new_tokens,
        "min_tokens": 0,
        "stop": [],
        "stop_token_ids": list(end_token_ids),
        "ignore_eos": True,
        "logprobs": 0,
        "flat_logprobs": True,  # one list per response: without it, vLLM makes two objects for each token
        "prompt_logprobs": None,
        "detokenize": False,
    }
