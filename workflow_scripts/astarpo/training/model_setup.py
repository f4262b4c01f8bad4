"""What a training sets on its models: no dropout, the heads that are used in chunks, recomputed activations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from astarpo.model.chunked_log_probs import Head, find_head


def heads(policy: PreTrainedModel, reference: PreTrainedModel, chunk_tokens: int | None) -> dict[str, Head]:
    """The heads of both models, or none of them: equal weights shall give equal log-probabilities.

    Args:
        policy, reference: causal language models.
        chunk_tokens: response tokens whose logits exist at a time; None: no heads are wanted.
    """
    if chunk_tokens is None:
        return {}
    heads_by_name: dict[str, Head] = {}
    for name, model in (("policy", policy), ("reference", reference)):
        head = find_head(model)
        if isinstance(head, str):
            print(f"log-probabilities are taken from all logits at once: {head}", flush=True)
            return {}
        heads_by_name[name] = head
    return heads_by_name


def switch_off_dropout(model: torch.nn.Module) -> None:
    """Dropout would make the policy that is trained another than the one that sampled."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.eval()  # attention dropout is read from the config and applied in training mode only


def recompute_activations(model: PreTrainedModel) -> None:
    """Let a model keep only what goes from layer to layer; the backward pass computes the rest again.

    It does so inside `recomputing` only.
    """
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@contextmanager
def recomputing(model: torch.nn.Module) -> Iterator[None]:
    """Let the layers of a model prepared by `recompute_activations` do so in the passes of this block.

    They do in training mode only, in which they drop the cache that sampling needs, so it is theirs alone, without
    the modules inside, and for the block.
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
