"""Sampling with transformers' ``generate``: any model, any device; every draw fixed by its request's seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from astarpo.logprobs import response_length
from astarpo.sampling import Completion, Request, SamplingSettings
from astarpo.seeds import uniforms

if TYPE_CHECKING:
    from torch import Tensor


class TransformersSampler:
    """Draws responses with ``generate``.

    A response depends on its own request only: the noise of each token comes from the request's seed and
    the token's position, so in fp32 neither batch size nor order changes a sample.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        end_token_ids: ids that end a response.
        batch_size: responses drawn at a time.
    """

    def __init__(
        self, model: Any, tokenizer: Any, end_token_ids: Sequence[int], batch_size: int
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.end_token_ids, self.batch_size = list(end_token_ids), batch_size

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        on_batch: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Draw one response for each request, in the order of the requests.

        Args:
            requests: what to draw; prompts of similar length are drawn together.
            settings: temperature, nucleus and the longest response.
            on_batch: called with the number of responses after each batch, for progress.
        """
        by_length = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt_token_ids))
        found: dict[int, Completion] = {}
        for start in range(0, len(by_length), self.batch_size):
            chosen = by_length[start : start + self.batch_size]
            drawn = self._sample_batch([requests[i] for i in chosen], settings)
            found.update(zip(chosen, drawn, strict=True))
            if on_batch is not None:
                on_batch(len(chosen))
        return [found[i] for i in range(len(requests))]

    def _sample_batch(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> list[Completion]:
        import torch

        prompt_ids_BP, attention_mask_BP = self._left_pad([r.prompt_token_ids for r in requests])
        choice = _choice(requests, settings, prompt_ids_BP.shape[1])
        with torch.inference_mode(), _on_its_own(self.model):
            output_BS = self.model.generate(
                input_ids=prompt_ids_BP,
                attention_mask=attention_mask_BP,
                generation_config=self._generation_config(settings.max_new_tokens),
                logits_processor=choice.processors(),
            )
        response_ids_BT = output_BS[:, prompt_ids_BP.shape[1] :].tolist()
        lengths = [response_length(row, self.end_token_ids) for row in response_ids_BT]
        return [
            self._completion(row[:length], logprob_sum, log_probs[:length])
            for row, length, logprob_sum, log_probs in zip(
                response_ids_BT,
                lengths,
                choice.logprob_sums(lengths),
                choice.log_probs(),
                strict=True,
            )
        ]

    def weights_changed(self) -> None:
        """Nothing to do: the model that is trained is the one that is drawn from."""

    def rest(self) -> None:
        """Nothing to do: nothing is held besides the model."""

    def _completion(
        self, token_ids: list[int], logprob_sum: float, log_probs: list[float]
    ) -> Completion:
        ended = token_ids[-1] in self.end_token_ids
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return Completion(token_ids, text, "stop" if ended else "length", logprob_sum, log_probs)

    def _left_pad(self, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
        import torch

        width = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        rows = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
        masks = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(masks, device=device)

    def _generation_config(self, max_new_tokens: int) -> Any:
        """What ends a response and nothing else: tokens are chosen by `SeededChoice`."""
        from transformers import GenerationConfig

        pad = self.tokenizer.pad_token_id
        return GenerationConfig(
            do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, use_cache=True,
            eos_token_id=self.end_token_ids, pad_token_id=pad if pad is not None else self.end_token_ids[0],
        )  # fmt: skip


@contextmanager
def _on_its_own(model: Any) -> Iterator[None]:
    """Eval mode, and without the model's generation config, whose values ``generate`` takes where ours has none."""
    from transformers import GenerationConfig

    was_training, own = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
        model.train(was_training)


def _choice(
    requests: Sequence[Request], settings: SamplingSettings, prompt_width: int
) -> SeededChoice:
    noise_BT = None
    if settings.temperature > 0:
        noise_BT = uniforms([request.seed for request in requests], settings.max_new_tokens)
    return SeededChoice(settings, noise_BT, prompt_width)


class SeededChoice:
    """Chooses each next token from given uniform noise and notes its log-probability.

    Args:
        settings: temperature and nucleus.
        noise_BT: uniforms in [0, 1), float64 [B, T]; None for greedy decoding.
        prompt_width: padded length of the prompts.
    """

    def __init__(self, settings: SamplingSettings, noise_BT: Any, prompt_width: int) -> None:
        self.settings, self.noise_BT, self.prompt_width = settings, noise_BT, prompt_width
        self._log_probs: list[Tensor] = []

    def processors(self) -> Any:
        """The logits processors that make ``generate``'s greedy search take the chosen tokens."""
        from transformers import (
            LogitsProcessorList,
            TemperatureLogitsWarper,
            TopPLogitsWarper,
        )

        made = LogitsProcessorList()
        if self.noise_BT is not None and self.settings.temperature != 1.0:
            made.append(TemperatureLogitsWarper(float(self.settings.temperature)))
        if self.noise_BT is not None and self.settings.top_p < 1.0:
            made.append(TopPLogitsWarper(top_p=float(self.settings.top_p)))
        made.append(self)
        return made

    def __call__(self, input_ids_BS: Tensor, scores_BV: Tensor) -> Tensor:
        """Leave one finite score in each row, that of the chosen token.

        The token is the inverse of the cumulative distribution at the row's uniform, in fp64: one draw a
        token, and differences of rounding between batch shapes all but never move it.
        """
        import torch

        log_probs_BV = scores_BV.float().log_softmax(-1)
        if self.noise_BT is None:
            chosen_B = log_probs_BV.argmax(-1)
        else:
            column = self.noise_BT[:, input_ids_BS.shape[1] - self.prompt_width]
            noise_B1 = torch.as_tensor(column, device=scores_BV.device)[:, None]
            cumulative_BV = log_probs_BV.double().exp().cumsum(-1)
            target_B1 = noise_B1 * cumulative_BV[:, -1:]
            chosen_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
            chosen_B = chosen_B.clamp(max=scores_BV.shape[-1] - 1)
        self._log_probs.append(log_probs_BV.gather(-1, chosen_B[:, None])[:, 0])
        return torch.full_like(scores_BV, float("-inf")).scatter(-1, chosen_B[:, None], 0.0)

    def log_probs(self) -> list[list[float]]:
        """The log-probability of every token that was chosen, rows by steps, in nats."""
        import torch

        return torch.stack(self._log_probs, dim=1).tolist()

    def logprob_sums(self, lengths: Sequence[int]) -> list[float]:
        """Sum each row's log-probabilities over its first ``lengths`` tokens, in nats."""
        import torch

        log_probs_BT = torch.stack(self._log_probs, dim=1).double()
        steps_T = torch.arange(log_probs_BT.shape[1], device=log_probs_BT.device)
        lengths_B1 = torch.tensor(lengths, device=log_probs_BT.device)[:, None]
        inside_BT = steps_T[None, :] < lengths_B1
        return log_probs_BT.masked_fill(~inside_BT, 0.0).sum(-1).tolist()
