"""Modules that DeepSpeed runs under ZeRO 3, where a module's weights are whole only during its own passes."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.chunked_log_probs import Chunking, Head, Projection, log_probs_of_hidden
from astarpo.model.log_probs import Batch, Entropy, token_log_probs


class ScoredModel(torch.nn.Module):
    """A model that returns log-probabilities of response tokens instead of logits.

    Because DeepSpeed wraps this module, computing hidden states and head is a single pass, which gathers every
    weight once, in the same order in every process, however many chunks a process has.

    Args:
        model: a causal language model (transformers).
        head: the model's, for chunks; None: all logits at once.
    """

    def __init__(self, model: PreTrainedModel, head: Head | None) -> None:
        super().__init__()
        self.model = model
        self.head = None if head is None else _HookedHead.of(head)
        # Registered separately, because `Head` is not a module.
        self.linear = None if self.head is None else self.head.linear

    def forward(
        self, batch: Batch, temperature: float, entropy: Entropy, chunk_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """As `log_probs.token_log_probs` with this model and its head.

        Logits of any size are computed in chunks: otherwise the batches of two processes could fall on different sides
        of the limit, and processes that run modules in different orders would deadlock.
        """
        return token_log_probs(self.model, batch, temperature, entropy, self.head, chunk_tokens, small_logits=0)


class _HeadModule(torch.nn.Module):
    """Output embeddings, applied in chunks; shares weight and bias with the model's layer."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: Projection) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, hidden_NH: Tensor, labels_N: Tensor, head: Head, how: Chunking) -> tuple[Tensor, Tensor]:
        """See `chunked_log_probs.log_probs_of_hidden`."""
        return log_probs_of_hidden(hidden_NH, labels_N, head, how)


class _HookedHead(Head):
    """A head that calls a module, so that DeepSpeed's hooks run before and after."""

    linear: _HeadModule

    @classmethod
    def of(cls, head: Head) -> _HookedHead:
        return cls(_HeadModule(head.linear), head.scale, head.softcap)

    def log_probs(self, hidden_NH: Tensor, labels_N: Tensor, how: Chunking) -> tuple[Tensor, Tensor]:
        """See `Head.log_probs`."""
        # The hooks inspect positional arguments, and warn about those that are not tensors.
        scores: tuple[Tensor, Tensor] = self.linear(hidden_NH, labels_N, head=self, how=how)
        return scores
