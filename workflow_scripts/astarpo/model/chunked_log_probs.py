"""Log-probabilities from hidden states, computed in chunks so that the logits of all tokens never exist at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.precision import contiguous
from astarpo.model.sharding import whole, whole_during_passes

# Chunking fewer logits than this (64 MiB in fp32) saves little, and costs a second pass through the head.
SMALL_LOGITS = 2**24


class Projection(Protocol):
    """A linear layer, or a stand-in for one."""

    out_features: int

    @property
    def weight(self) -> Tensor:
        """W [V, H]."""
        ...

    @property
    def bias(self) -> Tensor | None:
        """b [V], or None."""
        ...


@dataclass(frozen=True)
class Head:
    """How a model computes logits from its last hidden states: ``softcap(scale (h W^T + b))``.

    Attributes:
        linear: the output embeddings, W [V, H] with or without b [V].
        scale: factor of the logits (Granite, Cohere); 1 for most models.
        softcap: c of ``c tanh(x / c)`` (Gemma); None for most models.
    """

    linear: Projection
    scale: float
    softcap: float | None

    @property
    def vocabulary(self) -> int:
        """V, the number of logits of a token."""
        return int(self.linear.out_features)

    def log_probs(self, hidden_NH: Tensor, labels_N: Tensor, how: Chunking) -> tuple[Tensor, Tensor]:
        """See `log_probs_of_hidden`."""
        return log_probs_of_hidden(hidden_NH, labels_N, self, how)


@dataclass(frozen=True)
class Chunking:
    """Options of `log_probs_of_hidden`.

    Attributes:
        temperature: logits are divided by it.
        tokens: number of tokens that go through the head at a time.
        entropy: ``none``, ``detached`` or ``with_gradient``.
    """

    temperature: float
    tokens: int
    entropy: str


def find_head(model: PreTrainedModel) -> Head | str:
    """Determine how a model computes logits, and check it on a few tokens.

    Args:
        model: a causal language model (transformers).

    Returns:
        Its head, or why log-probabilities cannot be computed exactly from hidden states.
    """
    base = getattr(model, "base_model", None)
    linear = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if base is None or base is model or linear is None:
        return f"{type(model).__name__} does not expose its hidden states and its head"
    # The one hook that changes no number, of models in bfloat16, does not matter: chunks are contiguous.
    hooks = [*linear._forward_hooks.values(), *linear._forward_pre_hooks.values()]
    if type(linear) is not torch.nn.Linear or any(hook is not contiguous for hook in hooks):
        return f"its head is not a plain linear layer but {type(linear).__name__} (or has hooks)"
    text = model.config.get_text_config()
    divisor = getattr(text, "logits_scaling", None) or 1.0
    head = Head(
        linear=linear,
        scale=float(getattr(text, "logit_scale", None) or 1.0) / float(divisor),
        softcap=getattr(text, "final_logit_softcapping", None),
    )
    error = _relative_logit_error(model, head)
    if not error < 1e-4:
        return f"the logits of {type(model).__name__} are not those of its head alone (they differ by {error:.1e})"
    return head


def _relative_logit_error(model: PreTrainedModel, head: Head) -> float:
    """Largest difference from the model's logits on eight tokens, relative to the largest logit."""
    ids_BS = torch.arange(8, device=head.linear.weight.device)[None] % head.vocabulary
    weight_VH, bias_V = head.linear.weight, head.linear.bias
    with torch.no_grad(), whole_during_passes(model):
        expected_SV = model(input_ids=ids_BS, use_cache=False).logits[0].float()
        hidden_SH = model.base_model(input_ids=ids_BS, use_cache=False).last_hidden_state[0]
        with whole([weight_VH, bias_V]):
            actual_SV = _tempered_logits(hidden_SH, weight_VH, bias_V, head, 1.0)
        if actual_SV.shape != expected_SV.shape:
            return float("inf")
        return float((actual_SV - expected_SV).abs().max() / expected_SV.abs().max().clamp(min=1.0))


def log_probs_of_hidden(hidden_NH: Tensor, labels_N: Tensor, head: Head, how: Chunking) -> tuple[Tensor, Tensor]:
    """Log-probability of each label under ``softmax(logits / temperature)``, exact in value and gradient.

    Only `Chunking.tokens` rows of logits exist at a time. The backward pass recomputes them instead of keeping them,
    which takes 4 products with W instead of 3. With p = softmax(z), and g and e the incoming gradients of the
    log-probability and of the entropy S: dz = g (onehot - p) - e p (ln p + S).

    Args:
        hidden_NH: last hidden states that predict the labels; results are fp64 for fp64, and fp32 otherwise.
        labels_N: token ids.
        head: from `find_head`; gradients flow to its weight and bias.
        how: temperature, chunk size, entropy.

    Returns:
        ``log_probs_N`` and ``entropy_N`` in nats (zeros if ``how.entropy`` is ``none``).
    """
    device = hidden_NH.device.type
    dtype = hidden_NH.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    weight_VH, bias_V = head.linear.weight, head.linear.bias
    results: tuple[Tensor, Tensor] = LogProbs.apply(hidden_NH, weight_VH, bias_V, labels_N, head, how, dtype)
    return results


def _tempered_logits(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, head: Head, temperature: float
) -> Tensor:
    """Logits / temperature [N, V], in fp32 or, for fp64, in fp64; in place where possible."""
    raw_NV = torch.nn.functional.linear(hidden_NH, weight_VH, bias_V)
    logits_NV = raw_NV.to(torch.promote_types(raw_NV.dtype, torch.float32))
    if head.scale != 1.0:
        logits_NV.mul_(head.scale)
    if head.softcap is not None:
        logits_NV.div_(head.softcap).tanh_().mul_(head.softcap)
    return logits_NV if temperature == 1.0 else logits_NV.div_(temperature)


def _through_temperature(grad_NV: Tensor, logits_NV: Tensor | None, head: Head, temperature: float) -> Tensor:
    """Gradient of `_tempered_logits` before the linear layer, in place; a soft cap needs the logits."""
    if temperature != 1.0:
        grad_NV.div_(temperature)
    if head.softcap is not None:
        assert logits_NV is not None
        tanh_NV = logits_NV.mul_(temperature / head.softcap)
        grad_NV.mul_(tanh_NV.square_().neg_().add_(1.0))
    return grad_NV if head.scale == 1.0 else grad_NV.mul_(head.scale)


def _chunks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _forward(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    labels_N: Tensor,
    head: Head,
    how: Chunking,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute log-probabilities, entropies and ln sum exp of the logits, each [N]."""
    kind = torch.promote_types(hidden_NH.dtype, torch.float32)
    log_probs_N, entropy_N, log_sums_N = hidden_NH.new_zeros((3, len(labels_N)), dtype=kind)
    for part in _chunks(len(labels_N), how.tokens):
        logits_CV = _tempered_logits(hidden_NH[part], weight_VH, bias_V, head, how.temperature)
        labels_C1 = labels_N[part, None]
        of_label_C = logits_CV.gather(-1, labels_C1)[:, 0]
        all_log_probs_CV = logits_CV.log_softmax(-1)
        log_probs_N[part] = all_log_probs_CV.gather(-1, labels_C1)[:, 0]
        log_sums_N[part] = of_label_C - log_probs_N[part]
        if how.entropy != "none":
            torch.exp(all_log_probs_CV, out=logits_CV)
            entropy_N[part] = -logits_CV.mul_(all_log_probs_CV).sum(-1)
    return log_probs_N, entropy_N, log_sums_N


def _chunk_gradient(
    logits_CV: Tensor,
    labels_C: Tensor,
    log_sums_C: Tensor,
    grad_log_probs_C: Tensor,
    entropy_terms: tuple[Tensor, Tensor] | None,
    head: Head,
    how: Chunking,
) -> Tensor:
    """Gradient of a chunk's loss with respect to ``h W^T + b``."""
    kept_CV = logits_CV.clone() if head.softcap is not None else None
    log_probs_CV = logits_CV.sub_(log_sums_C[:, None])
    if entropy_terms is None:
        grad_CV = log_probs_CV.exp_().mul_(-grad_log_probs_C[:, None])
    else:
        entropy_C, grad_entropy_C = entropy_terms
        probs_CV = log_probs_CV.exp()
        factor_CV = log_probs_CV.add_(entropy_C[:, None]).mul_(grad_entropy_C[:, None])
        grad_CV = factor_CV.add_(grad_log_probs_C[:, None]).mul_(probs_CV).neg_()
    grad_CV.scatter_add_(-1, labels_C[:, None], grad_log_probs_C[:, None])
    return _through_temperature(grad_CV, kept_CV, head, how.temperature)


def _add_product(total_VH: Tensor, left_CV: Tensor, right_CH: Tensor) -> None:
    """Add ``left^T right`` to a sum that stays in fp32 (or fp64) even if the factors are in half precision."""
    if left_CV.dtype == total_VH.dtype:
        total_VH.addmm_(left_CV.t(), right_CH)
    else:
        total_VH.add_(left_CV.t() @ right_CH)


def _backward(ctx: Any, grad_log_probs_N: Tensor, grad_entropy_N: Tensor) -> tuple[Tensor | None, ...]:
    """Compute the gradients of hidden states, weight and bias, recomputing each chunk's logits."""
    hidden_NH, weight_VH, bias_V, labels_N, log_sums_N, entropy_N = ctx.saved_tensors
    head, how, dtype = ctx.head, ctx.how, ctx.dtype
    hidden_NH, weights_VH = hidden_NH.to(dtype), weight_VH.to(dtype)
    biases_V = None if bias_V is None else bias_V.to(dtype)
    kind = log_sums_N.dtype
    wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    grad_hidden_NH = torch.zeros_like(hidden_NH) if wants_hidden else None
    grad_weight_VH = torch.zeros_like(weight_VH, dtype=kind) if wants_weight else None
    grad_bias_V = torch.zeros_like(bias_V, dtype=kind) if wants_bias else None
    for part in _chunks(len(labels_N), how.tokens):
        logits_CV = _tempered_logits(hidden_NH[part], weights_VH, biases_V, head, how.temperature)
        terms = None
        if how.entropy == "with_gradient":
            terms = (entropy_N[part], grad_entropy_N[part])
        grad_CV = _chunk_gradient(logits_CV, labels_N[part], log_sums_N[part], grad_log_probs_N[part], terms, head, how)
        if grad_bias_V is not None:
            grad_bias_V += grad_CV.sum(0)
        grad_CV = grad_CV.to(dtype)
        if grad_hidden_NH is not None:
            grad_hidden_NH[part] = grad_CV @ weights_VH
        if grad_weight_VH is not None:
            _add_product(grad_weight_VH, grad_CV, hidden_NH[part])
    return (
        None if grad_hidden_NH is None else grad_hidden_NH.to(ctx.saved_tensors[0].dtype),
        None if grad_weight_VH is None else grad_weight_VH.to(weight_VH.dtype),
        None if grad_bias_V is None else grad_bias_V.to(bias_V.dtype),
        None,
        None,
        None,
        None,
    )


class LogProbs(torch.autograd.Function):
    """Log-probabilities and entropies of labels; the backward pass recomputes each chunk's logits."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        head: Head,
        how: Chunking,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Save the factors for the backward pass, never the logits."""
        with torch.autocast(hidden_NH.device.type, enabled=False):
            biases_V = None if bias_V is None else bias_V.to(dtype)
            log_probs_N, entropy_N, log_sums_N = _forward(
                hidden_NH.to(dtype), weight_VH.to(dtype), biases_V, labels_N, head, how
            )
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, labels_N, log_sums_N, entropy_N)
        ctx.head, ctx.how, ctx.dtype = head, how, dtype
        if how.entropy != "with_gradient":
            ctx.mark_non_differentiable(entropy_N)
        return log_probs_N, entropy_N

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """See `_backward`."""
        with torch.autocast(gradients[0].device.type, enabled=False):
            return _backward(ctx, *gradients)
