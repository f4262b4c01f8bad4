"""Log-probabilities of response tokens under a model, for policy and reference alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.causal_lm import CausalLM
from astarpo.model.chunked_log_probs import SMALL_LOGITS, Chunking, Head
from astarpo.model.finite import FiniteLogProbs
from astarpo.model.packing import PackedRows, pack
from astarpo.model.passing_cache import passing_cache
from astarpo.model.shared_layout import lay_out
from astarpo.model.shared_prefix import read_prefix
from astarpo.model.shared_prompts import Contexts, can_share_prompts, find_shared, read_contexts

Entropy = Literal["none", "detached", "with_gradient"]


@dataclass(frozen=True)
class Batch:
    """Prompts with their responses, padded on the right.

    With padding on the right, a causal model needs no attention mask: no real token attends to later ones.

    Attributes:
        input_ids_BS: prompt, response and padding.
        labels_BT: the response tokens, any id where masked.
        mask_BT: True at response tokens, up to and including the first end token.
        positions_BT: index in ``input_ids_BS`` of the token that predicts each label.
        rows_N, columns_N: of the response tokens, ``mask_BT.nonzero()``.
        on_host: ids, mask and positions in CPU memory. What depends on their values is decided there, because the host
            would have to wait for a GPU to read them.
        packed: the same rows laid end to end, if they are to be read so; None: as they are padded.
    """

    input_ids_BS: Tensor
    labels_BT: Tensor
    mask_BT: Tensor
    positions_BT: Tensor
    rows_N: Tensor
    columns_N: Tensor
    on_host: tuple[Tensor, Tensor, Tensor] = field(kw_only=True)
    packed: PackedRows | None = field(default=None, kw_only=True)


def response_length(token_ids: Sequence[int], end_token_ids: Sequence[int]) -> int:
    """Count the tokens up to and including the first end token; all of them if there is none.

    The pad token is not considered, because it may be one of the end tokens.
    """
    for index, token in enumerate(token_ids):
        if token in end_token_ids:
            return index + 1
    return len(token_ids)


def collate(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    end_token_ids: Sequence[int],
    device: torch.device | str = "cpu",
    packed: bool = False,
    shared: bool = False,
) -> Batch:
    """Lay prompts and responses out as one right-padded batch.

    Args:
        prompts: B lists of token ids, none empty.
        responses: B lists of token ids; tokens after the first end token are dropped.
        end_token_ids: ids that end a response, see `model.end_tokens`.
        device: of the tensors.
        packed: whether to lay the rows end to end besides, for a model whose rows can be packed.
        shared: whether to lay them so, with what they share once, if there is enough of it; see `shared_layout`.
    """
    lengths = [response_length(response, end_token_ids) for response in responses]
    width = max(len(prompt) + length for prompt, length in zip(prompts, lengths, strict=True))
    size = (len(prompts), max(lengths))
    input_ids_BS = torch.zeros((len(prompts), width), dtype=torch.long)
    labels_BT, positions_BT = (
        torch.zeros(size, dtype=torch.long),
        torch.zeros(size, dtype=torch.long),
    )
    mask_BT = torch.zeros(size, dtype=torch.bool)
    for row, (prompt, response, length) in enumerate(zip(prompts, responses, lengths, strict=True)):
        tokens = torch.tensor([*prompt, *response[:length]], dtype=torch.long)
        input_ids_BS[row, : len(tokens)] = tokens
        labels_BT[row, :length] = tokens[len(prompt) :]
        positions_BT[row, :length] = torch.arange(len(prompt) - 1, len(tokens) - 1)
        mask_BT[row, :length] = True
    rows_N, columns_N = mask_BT.nonzero(as_tuple=True)
    sent = [one.to(device) for one in (input_ids_BS, labels_BT, mask_BT, positions_BT, rows_N, columns_N)]
    whole = [len(prompt) + length for prompt, length in zip(prompts, lengths, strict=True)]
    laid = lay_out(input_ids_BS, whole, mask_BT, positions_BT) if shared else None
    if laid is None and packed:
        laid = pack(input_ids_BS, whole, positions_BT[rows_N, columns_N], rows_N)
    on_host = input_ids_BS, mask_BT, positions_BT
    return Batch(*sent, on_host=on_host, packed=None if laid is None else laid.to(device))


def token_log_probs(
    model: CausalLM,
    batch: Batch,
    temperature: float,
    entropy: Entropy = "none",
    head: Head | None = None,
    chunk_tokens: int = 0,
    small_logits: int | None = None,
    share_prefix: bool = False,
    finite: FiniteLogProbs | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each response token, ln softmax(logits / temperature)[token].

    Args:
        model: a causal language model with ``logits_to_keep``.
        batch: from `collate`.
        temperature: the sampling temperature, > 0, so that the trained policy is the one that sampled.
        entropy: whether to compute the entropy of each next-token distribution, and whether with gradient.
        head: the model's, from `chunked_log_probs.find_head`, so that large logits are computed in chunks.
        chunk_tokens: with ``head``, number of response tokens per chunk.
        small_logits: up to this many logits are computed at once; None: `chunked_log_probs.SMALL_LOGITS`.
        share_prefix: whether what rows share is read once, a common beginning and common prompts; only if
            `shared_prefix.can_share`. Results then differ by rounding.
        finite: notes whether log-probabilities are finite, to be checked later; None: they are checked here.

    Returns:
        ``log_probs_BT`` in fp32, 0 where masked, and ``entropy_BT`` in nats, 0 where masked (or None).

    Raises:
        FloatingPointError: a log-probability is not finite.
    """
    rest = _Rest.of(model, batch, share_prefix)
    limit = SMALL_LOGITS if small_logits is None else small_logits
    if head is not None and rest.logits * head.vocabulary > limit:
        log_probs_N, entropy_N = _in_chunks(model, batch, rest, head, Chunking(temperature, chunk_tokens, entropy))
    else:
        log_probs_N, entropy_N = _at_once(model, batch, rest, temperature, entropy)
    noted = FiniteLogProbs() if finite is None else finite
    noted.add(log_probs_N)
    if finite is None:
        noted.check()
    entropy_BT = None if entropy == "none" else _scatter(entropy_N, batch.mask_BT)
    return _scatter(log_probs_N, batch.mask_BT), entropy_BT


def tokens_read(model: CausalLM, batch: Batch, share_prefix: bool = False) -> int:
    """Count the tokens that `token_log_probs` reads, padding included and what rows share once."""
    padded = _tokens_read(batch, *_shared(model, batch, share_prefix))
    return padded if batch.packed is None else min(padded, batch.packed.tokens)


@dataclass(frozen=True)
class _Rest:
    """What a model reads of a batch: the part after what its rows share, or its rows laid end to end.

    Attributes:
        inputs: what the model is called with.
        rows_N, places_N: index in them of the token that predicts each response token.
        kept: the positions whose logits are computed: so many of the last ones, or those of these indices.
    """

    inputs: dict[str, Any]
    rows_N: Tensor
    places_N: Tensor
    kept: int | Tensor

    @classmethod
    def of(cls, model: CausalLM, batch: Batch, share: bool) -> _Rest:
        """Read what rows share, a common beginning and common prompts, if there is enough of it."""
        ids_BS, rows_N = batch.input_ids_BS, batch.rows_N
        start, contexts = _shared(model, batch, share)
        if batch.packed is not None and batch.packed.tokens <= _tokens_read(batch, start, contexts):
            return cls.packed(cast(PreTrainedModel, model), batch.packed, share)
        _, mask_BT, positions_BT = batch.on_host
        first = int(positions_BT[mask_BT].min()) if len(rows_N) else 0
        places_N, unused = batch.positions_BT[rows_N, batch.columns_N] - start, first - start
        inputs: dict[str, Any] = {"input_ids": ids_BS[:, start:], "use_cache": bool(start)}
        if contexts is not None:
            contexts = contexts.to(ids_BS.device)
            # A row's rest begins with the token that predicts its first response token.
            places_N, unused = batch.columns_N, 0
            inputs = read_contexts(cast(PreTrainedModel, model), ids_BS, contexts, start)
        elif start:
            inputs["past_key_values"] = read_prefix(cast(PreTrainedModel, model), ids_BS[0, :start], len(ids_BS))
        elif share:
            inputs["past_key_values"] = passing_cache(cast(PreTrainedModel, model))
        return cls(inputs, rows_N, places_N, inputs["input_ids"].shape[1] - unused)

    @classmethod
    def packed(cls, model: PreTrainedModel, rows: PackedRows, share: bool) -> _Rest:
        """Read all of the rows, laid end to end."""
        inputs = rows.inputs(model, share)
        return cls(inputs, torch.zeros_like(rows.places_N), rows.places_N, rows.places_N)

    @property
    def logits(self) -> int:
        """Number of positions whose logits are computed."""
        if isinstance(self.kept, Tensor):
            return len(self.kept)
        return len(self.inputs["input_ids"]) * self.kept

    @property
    def columns_N(self) -> Tensor:
        """Index in the computed logits of those for each response token."""
        if isinstance(self.kept, Tensor):
            return torch.arange(len(self.kept), device=self.kept.device)
        return self.places_N - (self.inputs["input_ids"].shape[1] - self.kept)


def _shared(model: CausalLM, batch: Batch, share: bool) -> tuple[int, Contexts | None]:
    if not share:
        return 0, None
    return find_shared(*batch.on_host, prompts=can_share_prompts(cast(PreTrainedModel, model)))


def _tokens_read(batch: Batch, start: int, contexts: Contexts | None) -> int:
    """Count the tokens that padded rows read, with the padding, after what they share has been read once."""
    rows, width = batch.input_ids_BS.shape
    if contexts is None:
        return start + rows * (width - start)
    distinct, longest = contexts.ids_UP.shape
    return start + distinct * (longest - start) + rows * contexts.rest


def _in_chunks(model: CausalLM, batch: Batch, rest: _Rest, head: Head, how: Chunking) -> tuple[Tensor, Tensor]:
    """Pass only the hidden states that predict a response token through the head."""
    hidden_BSH = model.base_model(**rest.inputs).last_hidden_state
    labels_N = batch.labels_BT[batch.rows_N, batch.columns_N]
    return head.log_probs(hidden_BSH[rest.rows_N, rest.places_N], labels_N, how)


def _at_once(model: CausalLM, batch: Batch, rest: _Rest, temperature: float, entropy: str) -> tuple[Tensor, Tensor]:
    """Use the logits of the last positions alone; without entropy, the second item is unused."""
    logits_BKV = model(**rest.inputs, logits_to_keep=rest.kept).logits
    logits_NV = logits_BKV[rest.rows_N, rest.columns_N].float() / temperature
    all_log_probs_NV = logits_NV.log_softmax(-1)
    labels_N = batch.labels_BT[batch.rows_N, batch.columns_N]
    log_probs_N = all_log_probs_NV.gather(-1, labels_N[:, None])[:, 0]
    if entropy == "none":
        return log_probs_N, log_probs_N
    source_NV = all_log_probs_NV if entropy == "with_gradient" else all_log_probs_NV.detach()
    return log_probs_N, -(source_NV.exp() * source_NV).sum(-1)


def _scatter(values_N: Tensor, mask_BT: Tensor) -> Tensor:
    zeros_BT = torch.zeros(mask_BT.shape, dtype=values_N.dtype, device=values_N.device)
    return zeros_BT.masked_scatter(mask_BT, values_N)
