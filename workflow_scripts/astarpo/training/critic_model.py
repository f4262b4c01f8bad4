"""The model of PPO's critic."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.log_probs import Batch
from astarpo.model.passing_cache import passing_cache


class ValueModel(torch.nn.Module):
    """The body of a language model with a scalar head.

    Args:
        body: of a causal language model; used in place, not copied.
        width: of its hidden states.

    Attributes:
        cached: whether the body may be called with a cache that keeps nothing, see `passing_cache`.
    """

    cached = False

    def __init__(self, body: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(width, 1, device=body.device, dtype=body.dtype)
        # Zeros need no random numbers, and nothing is known about any state at the start.
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Tensor:
        """See `critic.Critic.values`."""
        if batch.packed is None:
            cache = passing_cache(self.body) if self.cached else None
            states_BSH = self.body(
                input_ids=batch.input_ids_BS, past_key_values=cache, use_cache=False
            ).last_hidden_state
            positions_N = batch.positions_BT[batch.rows_N, batch.columns_N]
            states_NH = states_BSH[batch.rows_N, positions_N]
        else:
            inputs = batch.packed.inputs(self.body, self.cached)
            states_NH = self.body(**inputs).last_hidden_state[0, batch.packed.places_N]
        values_N = self.head(states_NH)[:, 0]
        zeros_BT = torch.zeros(batch.mask_BT.shape, device=values_N.device)
        return zeros_BT.masked_scatter(batch.mask_BT, values_N.float())
