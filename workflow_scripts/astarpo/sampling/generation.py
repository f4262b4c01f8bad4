"""One batch of responses: what prompts share is read once, and finished rows drop out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList

from astarpo.sampling.kv_cache import growing_cache
from astarpo.sampling.seeded_choice import SeededChoice
from astarpo.sampling.settings import SamplingSettings

Drawn = tuple[list[int], list[float]]  # token ids and log-probabilities of a response
Finish = Callable[[Sequence[int], Sequence[Drawn]], None]
# In a batch this small, dropping finished rows saves less than another call of ``generate`` costs.
SMALL_BATCH = 16


class Drawing:
    """Draws a batch in several calls of ``generate``, each of which ends when half of its rows have ended.

    In a single call, every row would be computed until the longest response ends.

    Args:
        model: a causal language model, in eval mode.
        prompt_ids_BP: prompts, padded on the left, or after a beginning that all of them share.
        attention_mask_BP: 0 at padding.
        shared: length of that beginning, which is read once; 0: none.
        noise_BT: uniforms in [0, 1), float64 [B, T]; None for greedy decoding.
        settings: temperature, nucleus and T, the longest response.
    """

    def __init__(
        self,
        model: Any,
        prompt_ids_BP: Tensor,
        attention_mask_BP: Tensor,
        noise_BT: np.ndarray | None,
        settings: SamplingSettings,
        shared: int = 0,
    ) -> None:
        self.model, self.settings, self.noise_BT = model, settings, noise_BT
        self.prompt_width, self.shared = prompt_ids_BP.shape[1], shared
        self.ids_BS, self.mask_BS = prompt_ids_BP, attention_mask_BP
        self.log_probs_BT = torch.zeros((len(prompt_ids_BP), 0), device=prompt_ids_BP.device)
        self.rows = list(range(len(prompt_ids_BP)))
        self.cache = growing_cache(model, self.prompt_width + settings.max_new_tokens)

    def run(self, end_token_ids: Sequence[int], pad: int, finish: Finish) -> None:
        """Draw all responses of the batch.

        Args:
            end_token_ids: ids that end a response.
            pad: id that fills a row after its end token.
            finish: called with rows as they finish, each once, and what was drawn for them: token ids, possibly with
                more tokens after the first end token, and their log-probabilities in nats.
        """
        self._read_prompts()
        while self.rows:
            ended_B = self._draw(end_token_ids, pad)
            drawn = (self.ids_BS[ended_B, self.prompt_width :], self.log_probs_BT[ended_B])
            done = [row for row, over in zip(self.rows, ended_B.tolist(), strict=True) if over]
            finish(done, list(zip(drawn[0].tolist(), drawn[1].tolist(), strict=True)))
            self._keep((~ended_B).nonzero()[:, 0])

    def _read_prompts(self) -> None:
        """Read what all prompts share once, then each distinct prompt once if rows share prompts.

        ``generate`` reads the rest: the last token, which gives it the first logits, or all that has not been read.
        """
        if self.cache is None or self.prompt_width < 2:
            return
        self._read(self.ids_BS[:1], self.mask_BS[:1], 0, self.shared)
        # The pad token may also occur in prompts; the mask tells them apart.
        both_B2P = torch.stack([self.ids_BS, self.mask_BS], dim=1)
        unique_U2P, which_B = torch.unique(both_B2P, dim=0, return_inverse=True)
        if len(unique_U2P) == len(which_B):
            if self.shared:
                self.cache.batch_repeat_interleave(len(which_B))
            return
        if self.shared:
            self.cache.batch_repeat_interleave(len(unique_U2P))
        self._read(unique_U2P[:, 0], unique_U2P[:, 1], self.shared, self.prompt_width - 1)
        self.cache.batch_select_indices(which_B)

    def _read(self, ids_UP: Tensor, mask_UP: Tensor, start: int, end: int) -> None:
        """Read columns ``start`` to ``end`` of prompts into the cache, which holds those before."""
        if start >= end:
            return
        self.model(
            input_ids=ids_UP[:, start:end],
            attention_mask=mask_UP[:, :end],
            past_key_values=self.cache,
            position_ids=(mask_UP.cumsum(-1) - 1).clamp(min=0)[:, start:end],
            use_cache=True,
            logits_to_keep=1,
        )

    def _draw(self, end_token_ids: Sequence[int], pad: int) -> Tensor:
        """Draw until half of the rows have ended or the token limit is reached; return which rows have ended."""
        drawn = self.log_probs_BT.shape[1]
        ends = torch.tensor(end_token_ids, device=self.ids_BS.device)
        noise_BT = None
        if self.noise_BT is not None:  # sent at once, not a column for each token
            noise_BT = torch.as_tensor(self.noise_BT[self.rows], device=self.ids_BS.device)
        choice = SeededChoice(self.settings, noise_BT, self.prompt_width)
        until = StoppingCriteriaList()
        if self.cache is not None and len(self.rows) >= SMALL_BATCH:
            until.append(HalfHaveEnded(ends, len(self.rows)))
        # Only what ends a response: `SeededChoice` chooses the tokens.
        config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.settings.max_new_tokens - drawn,
            use_cache=True,
            eos_token_id=list(end_token_ids),
            pad_token_id=pad,
        )
        self.ids_BS = self.model.generate(
            input_ids=self.ids_BS,
            attention_mask=self.mask_BS,
            generation_config=config,
            logits_processor=choice.processors(),
            stopping_criteria=until,
            **({} if self.cache is None else {"past_key_values": self.cache}),
        )
        self.log_probs_BT = torch.cat([self.log_probs_BT, choice.log_probs_BT()], dim=1)
        width = self.ids_BS.shape[1] - self.prompt_width
        self.mask_BS = torch.nn.functional.pad(self.mask_BS, (0, width - drawn), value=1)
        ended_B = torch.isin(self.ids_BS[:, self.prompt_width :], ends).any(-1)
        return ended_B | (width >= self.settings.max_new_tokens)

    def _keep(self, rows_N: Tensor) -> None:
        self.rows = [self.rows[row] for row in rows_N.tolist()]
        if self.rows and self.cache is not None:
            self.ids_BS, self.mask_BS = self.ids_BS[rows_N], self.mask_BS[rows_N]
            self.log_probs_BT = self.log_probs_BT[rows_N]
            self.cache.batch_select_indices(rows_N)


class HalfHaveEnded:
    """A stopping criterion for ``generate``: at least half of the rows have drawn an end token.

    Args:
        ends: ids that end a response.
        rows: B, the number of rows.
    """

    def __init__(self, ends: Tensor, rows: int) -> None:
        self.ends = ends
        self.ended_B = ends.new_zeros(rows, dtype=bool)  # type: ignore[call-overload]

    def __call__(self, input_ids_BS: Tensor, scores: object, **_: object) -> Tensor:
        """Decide after each token; all rows get the same answer."""
        self.ended_B |= torch.isin(input_ids_BS[:, -1], self.ends)
        half = self.ended_B.sum() * 2 >= len(self.ended_B)
        return half.expand(len(self.ended_B))
