"""Sampling with transformers' ``generate``: any model, any device; a request's seed determines its response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from astarpo.model.log_probs import response_length
from astarpo.model.shared_prefix import LEAST_SHARED, can_share
from astarpo.sampling import Completion, OnBatch, OnFinished, Request
from astarpo.sampling.generation import Drawing, Drawn, Finish
from astarpo.sampling.grouped_query_attention import groups_together
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.uniforms import uniforms


class TransformersSampler:
    """Draws responses with ``generate``.

    A response depends on its request alone: the noise of each token comes from the request's seed and the token's
    position, so in fp32 neither batch size nor order changes a sample, except by rounding at the border between two
    tokens: never seen with a vocabulary of hundreds, one token in a few hundred with a vocabulary of 50,000.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        end_token_ids: ids that end a response.
        batch_size: responses drawn at a time.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end_token_ids: Sequence[int], batch_size: int
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.end_token_ids, self.batch_size = list(end_token_ids), batch_size

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: OnBatch | None = None,
        on_finished: OnFinished | None = None,
    ) -> list[Completion]:
        """Draw one response for each request, in the order of the requests.

        Args:
            requests: what to draw; prompts of similar length are drawn together.
            settings: temperature, nucleus and the longest response.
            on_batch: called after each batch.
            on_finished: called as responses finish.
        """
        # The sort keeps the order of equal lengths, so leaving out whole batches changes no other batch.
        by_length = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt_token_ids))
        completions: dict[int, Completion] = {}
        for start in range(0, len(by_length), self.batch_size):
            chosen = by_length[start : start + self.batch_size]

            def finish(rows: Sequence[int], drawn: Sequence[Drawn], chosen: Sequence[int] = chosen) -> None:
                places, finished = [chosen[row] for row in rows], [self._completion(*one) for one in drawn]
                completions.update(zip(places, finished, strict=True))
                if on_finished is not None:
                    on_finished(places, finished)

            self._sample_batch([requests[i] for i in chosen], settings, finish)
            if on_batch is not None:
                on_batch(chosen, [completions[i] for i in chosen])
        return [completions[i] for i in range(len(requests))]

    def _sample_batch(self, requests: Sequence[Request], settings: SamplingSettings, finish: Finish) -> None:
        prompts = [request.prompt_token_ids for request in requests]
        shared = shared_beginning(prompts) if can_share(self.model) else 0
        prompt_ids_BP, attention_mask_BP = self._pad_prompts(prompts, shared)
        noise_BT = None
        if settings.temperature > 0:
            noise_BT = uniforms([request.seed for request in requests], settings.max_new_tokens)
        with torch.inference_mode(), _isolated(self.model), groups_together(self.model):
            drawing = Drawing(self.model, prompt_ids_BP, attention_mask_BP, noise_BT, settings, shared)
            drawing.run(self.end_token_ids, self._pad, finish)

    def weights_changed(self) -> None:
        """Nothing to do: the trained model is the one that is sampled."""

    def rest(self) -> None:
        """Nothing to do: there is no memory besides the model to free."""

    def _completion(self, drawn_ids: list[int], log_probs: list[float]) -> Completion:
        """Cut the drawn tokens after the end token."""
        length = response_length(drawn_ids, self.end_token_ids)
        token_ids, log_probs = drawn_ids[:length], log_probs[:length]
        ended = token_ids[-1] in self.end_token_ids
        text = str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
        return Completion(token_ids, text, "stop" if ended else "length", sum(log_probs), log_probs)

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else self.end_token_ids[0]

    def _pad_prompts(self, prompts: Sequence[list[int]], shared: int) -> tuple[Tensor, Tensor]:
        """Lay prompts out in one width, padded after the ``shared`` tokens that they begin with."""
        width = max(map(len, prompts))
        rows, masks = [], []
        for prompt in prompts:
            padding = width - len(prompt)
            rows.append([*prompt[:shared], *[self._pad] * padding, *prompt[shared:]])
            masks.append([1] * shared + [0] * padding + [1] * (len(prompt) - shared))
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(masks, device=device)


def shared_beginning(prompts: Sequence[list[int]]) -> int:
    """Count the tokens that all prompts begin with, without the last token of any of them.

    Returns:
        The number of tokens; 0 if it is below `shared_prefix.LEAST_SHARED`, or there is a single prompt.
    """
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)  # in the order of their tokens, all others are between
    limit = min(map(len, prompts)) - 1
    length = next((i for i in range(limit) if first[i] != last[i]), limit)
    return length if length >= LEAST_SHARED else 0


@contextmanager
def _isolated(model: PreTrainedModel) -> Iterator[None]:
    """Use eval mode, and hide the model's generation config, from which ``generate`` fills in what ours leaves out."""
    was_training, generation_config = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = generation_config
        model.train(was_training)
