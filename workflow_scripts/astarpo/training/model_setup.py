"""Preparing models for training: no dropout, heads for chunked log-probabilities, activation checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from astarpo.model.chunked_log_probs import Head, find_head
from astarpo.model.packing import has_kernels, why_not
from astarpo.model.precision import MasterWeights, to_bfloat16
from astarpo.model.shared_layout import why_not_shared


def heads(policy: PreTrainedModel, reference: PreTrainedModel, chunk_tokens: int | None) -> dict[str, Head]:
    """Return the heads of both models, or neither, so that equal weights give equal log-probabilities.

    Args:
        policy, reference: causal language models.
        chunk_tokens: response tokens per chunk; None: no chunks, so no heads.
    """
    if chunk_tokens is None:
        return {}
    heads_by_name: dict[str, Head] = {}
    for name, model in (("policy", policy), ("reference", reference)):
        head = find_head(model)
        if isinstance(head, str):
            print(f"log-probabilities are computed from all logits at once: {head}", flush=True)
            return {}
        heads_by_name[name] = head
    return heads_by_name


def compute_in_bfloat16(policy: PreTrainedModel, reference: PreTrainedModel) -> MasterWeights:
    """Give both models bf16 weights in place of fp32 ones, and return the policy's fp32 masters.

    Args:
        policy, reference: with equal weights; with LoRA the same model.
    """
    if reference is not policy:  # first, so that less memory is needed
        to_bfloat16(reference)
    return MasterWeights(policy)


def packs(packing: bool | Literal["auto"], models: Sequence[object]) -> bool:
    """Decide whether rows are laid end to end; both models read them alike, or neither.

    Args:
        packing: as in ``machine.packing``; ``auto``: where attention has kernels for variable lengths. Elsewhere less
            is gained, and trainings that were padded would have other last bits; see docs/benchmarks.md.
        models: what passes call, policy and reference.
    """
    reasons = [reason for reason in map(why_not, models) if reason is not None]
    if reasons and packing is True:
        print(f"rows are padded, although machine.packing is true: {reasons[0]}", flush=True)
    if packing == "auto":
        return not reasons and all(map(has_kernels, models))
    return packing and not reasons


def lays_out(models: Sequence[object]) -> bool:
    """Decide whether rows are laid end to end after what they share, see `model.shared_layout`.

    Args:
        models: what passes call, policy and reference; both read rows alike.
    """
    reasons = [reason for reason in map(why_not_shared, models) if reason is not None]
    if reasons:
        print(f"each row reads all of its prompt, whatever rows share: {reasons[0]}", flush=True)
    return not reasons


def switch_off_dropout(model: torch.nn.Module) -> None:
    """Switch off dropout, with which the trained policy would differ from the one that sampled."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.eval()  # attention dropout comes from the config, and applies only in training mode


def freeze(reference: PreTrainedModel, policy: PreTrainedModel) -> None:
    """Prepare a reference for passes without gradient; with LoRA it is the policy, whose adapters are trained."""
    reference.eval()
    if reference is not policy:
        reference.requires_grad_(False)


def recompute_alike(body: PreTrainedModel, policy: PreTrainedModel) -> None:
    """Recompute a critic's activations if the policy's are."""
    if policy.is_gradient_checkpointing:
        recompute_activations(body)


def recompute_activations(model: PreTrainedModel) -> None:
    """Make a model keep only the activations between layers; the backward pass recomputes the rest.

    This takes effect only inside `recomputing`.
    """
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@contextmanager
def recomputing(model: torch.nn.Module) -> Iterator[None]:
    """Recompute activations in this block, for a model prepared by `recompute_activations`.

    Layers recompute only in training mode, in which they also drop the cache that sampling needs. So training mode
    is set for the layers only, without their submodules, and only within the block.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
    ]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
