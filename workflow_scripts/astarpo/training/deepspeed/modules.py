"""What DeepSpeed runs with ZeRO 3, where a module's weights are whole in the module's own passes only."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.chunked_log_probs import Chunking, Head, Projection, log_probs_of_hidden
from astarpo.model.log_probs import Batch, Entropy, token_log_probs


class ScoredModel(torch.nn.Module):
    """A model that returns log-probabilities of response tokens instead of logits.

    As this is what DeepSpeed wraps, a pass through hidden states and head is one of its passes, and gathers every
    weight once, in the same order in every process, however many chunks a process cuts its tokens into.

    Args:
        model: a causal language model (transformers).
        head: the model's, for chunks; None: all logits at once.
    """

    def __init__(self, model: PreTrainedModel, head: Head | None) -> None:
        super().__init__()
        self.model = model
        self.head = None if head is None else _HookedHead.of(head)
        # Registered by its own name: a head is no module.
        self.linear = None if self.head is None else self.head.linear

    def forward(
        self, batch: Batch, temperature: float, entropy: Entropy, chunk_tokens: int
    ) -> tuple[Tensor, Tensor | None]:
        """As `log_probs.token_log_probs` with this model and its head.

        Logits of any size are cut: batches of two processes may lie on both sides of the limit, and processes that
        run the modules in different orders would wait for each other forever.
        """
        return token_log_probs(self.model, batch, temperature, entropy, self.head, chunk_tokens, small_logits=0)


class _HeadModule(torch.nn.Module):
    """Output embeddings, used in chunks; it shares weight and bias with the model's own layer."""

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
    """A head whose passes are those of a module, before and after which DeepSpeed's hooks run."""

    linear: _HeadModule

    @classmethod
    def of(cls, head: Head) -> _HookedHead:
        return cls(_HeadModule(head.linear), head.scale, head.softcap)

    def log_probs(self, hidden_NH: Tensor, labels_N: Tensor, how: Chunking) -> tuple[Tensor, Tensor]:
        """See `Head.log_probs`."""
        # The hooks look at positional arguments, and warn of those that are not tensors.
        scores: tuple[Tensor, Tensor] = self.linear(hidden_NH, labels_N, head=self, how=how)
        return scores
