"""Choosing tokens by given noise instead of a random generator's state."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from astarpo.sampling.settings import SamplingSettings


class SeededChoice:
    """Chooses each next token from given uniform noise and notes its log-probability.

    Args:
        settings: temperature and nucleus.
        noise_BT: uniforms in [0, 1), float64 [B, T], best on the device of the model; None for greedy decoding.
        prompt_width: padded length of the prompts.
    """

    def __init__(self, settings: SamplingSettings, noise_BT: np.ndarray | Tensor | None, prompt_width: int) -> None:
        self.settings, self.prompt_width = settings, prompt_width
        self.noise_BT = None if noise_BT is None else torch.as_tensor(noise_BT)
        self._log_probs: list[Tensor] = []

    def processors(self) -> LogitsProcessorList:
        """The logits processors that make ``generate``'s greedy search take the chosen tokens."""
        processors = LogitsProcessorList()
        if self.noise_BT is not None and self.settings.temperature != 1.0:
            processors.append(TemperatureLogitsWarper(float(self.settings.temperature)))
        if self.noise_BT is not None and self.settings.top_p < 1.0:
            processors.append(TopPLogitsWarper(top_p=float(self.settings.top_p)))
        processors.append(self)
        return processors

    def __call__(self, input_ids_BS: Tensor, scores_BV: Tensor) -> Tensor:
        """Leave one finite score in each row, that of the chosen token.

        The token is the inverse of the cumulative distribution at the row's uniform, in fp64: one draw a token.
        Rounding, which differs between batch shapes, changes it only if the uniform lies at the border of two tokens.
        """
        log_probs_BV = scores_BV.float().log_softmax(-1)
        if self.noise_BT is None:
            chosen_B = log_probs_BV.argmax(-1)
        else:
            column = input_ids_BS.shape[1] - self.prompt_width
            noise_B1 = self.noise_BT[:, column, None].to(scores_BV.device)
            cumulative_BV = log_probs_BV.double().exp_().cumsum_(-1)
            target_B1 = noise_B1 * cumulative_BV[:, -1:]
            chosen_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
            chosen_B = chosen_B.clamp(max=scores_BV.shape[-1] - 1)
        self._log_probs.append(log_probs_BV.gather(-1, chosen_B[:, None])[:, 0])
        return torch.full_like(scores_BV, float("-inf")).scatter_(-1, chosen_B[:, None], 0.0)

    def log_probs_BT(self) -> Tensor:
        """The log-probability of each chosen token, fp32 [B, T], in nats."""
        return torch.stack(self._log_probs, dim=1)
