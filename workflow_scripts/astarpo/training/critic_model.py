"""The model of PPO's critic."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.log_probs import Batch


class ValueModel(torch.nn.Module):
    """The body of a language model with a head of one number a token.

    Args:
        body: of a causal language model; it becomes part of this one.
        width: of its hidden states.
    """

    def __init__(self, body: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(width, 1, device=body.device)
        # Zero needs no random numbers, and says of every state what is known of it at the start: nothing.
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Tensor:
        """See `critic.Critic.values`."""
        states_BSH = self.body(input_ids=batch.input_ids_BS, use_cache=False).last_hidden_state
        rows, columns = batch.mask_BT.nonzero(as_tuple=True)
        values_N = self.head(states_BSH[rows, batch.positions_BT[rows, columns]])[:, 0]
        zeros_BT = torch.zeros(batch.mask_BT.shape, device=values_N.device)
        return zeros_BT.masked_scatter(batch.mask_BT, values_N.float())
