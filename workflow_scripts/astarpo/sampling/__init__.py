"""Sampling: requests to an engine and its completions; each engine has its own module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from astarpo.sampling.settings import SamplingSettings


@dataclass(frozen=True)
class Request:
    """One response to draw.

    Attributes:
        prompt_id: stable id of the prompt.
        sample_index: which response of that prompt.
        seed: fixes every random choice of this response.
        prompt_token_ids: the encoded prompt.
    """

    prompt_id: str
    sample_index: int
    seed: int
    prompt_token_ids: list[int]


@dataclass(frozen=True)
class Completion:
    """One response.

    Attributes:
        token_ids: up to and including the end token, if there is one.
        text: decoded without special tokens.
        finish_reason: ``stop`` after an end token, ``length`` if it was cut off.
        logprob_sum: sum of the log-probabilities of its tokens under the distribution they were drawn from
            (for greedy decoding: under temperature 1), in nats.
        log_probs: the terms of that sum, one per token.

    Raises:
        FloatingPointError: a log-probability is not finite, so the model's logits were not.
    """

    token_ids: list[int]
    text: str
    finish_reason: str
    logprob_sum: float
    log_probs: list[float]

    def __post_init__(self) -> None:
        # Whatever engine drew it: from NaN logits it draws some token, and nothing later would tell.
        if not math.isfinite(self.logprob_sum):
            place = next(place for place, value in enumerate(self.log_probs, start=1) if not math.isfinite(value))
            raise FloatingPointError(f"token {place} of a response has a log-probability that is not finite")


# Called after each batch with the places of its requests, in the order given, and their completions.
OnBatch = Callable[[Sequence[int], Sequence[Completion]], None]
# Called with some responses as soon as they are finished, in any order; each comes once, also before its batch ends.
OnFinished = Callable[[Sequence[int], Sequence[Completion]], None]


class Sampler(Protocol):
    """A sampling engine: token ids in, token ids out."""

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Draw one response for each request, in the order of the requests.

        ``on_finished`` is called while others are still being drawn. Requests are drawn in batches, and ``on_batch`` is
        called after each. If the requests of some whole batches are left out, the others are drawn in the same batches
        as before, with the same numbers to the last bit.
        """
        ...

    def weights_changed(self) -> None:
        """Note that the model was updated: the next responses must come from the new weights."""
        ...

    def rest(self) -> None:
        """Note that no responses are needed for a while: memory may be freed."""
        ...
