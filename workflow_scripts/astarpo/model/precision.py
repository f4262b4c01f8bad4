"""The precision of passes: models that compute in bfloat16, and the fp32 master weights of those that are trained.

Products, the states between layers and the cache of keys and values are then in bfloat16. In fp32 stay the sums of
products, what transformers computes in fp32 whatever the weights are (norms, the softmax of attention, the angles of
rotary embeddings), log-probabilities and losses, and the sums of gradients over micro-batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from transformers import PreTrainedModel

Pair = tuple[Parameter, Parameter]


def to_bfloat16(model: Module) -> list[Pair]:
    """Give a model copies of its fp32 weights in bfloat16 instead, in place; tied weights stay tied.

    Weights of another type, such as those of 4 bits, and buffers stay as they are. Each weight is released before the
    next one is copied, unless it is trained.

    Args:
        model: nothing may hold its weights, such as an optimizer.

    Returns:
        The copy and the fp32 weight of all that require a gradient, in the order of ``model.parameters()``.
    """
    places: dict[Parameter, list[tuple[Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.dtype == torch.float32:
                places[weight].append((module, name))
    trained: list[Pair] = []
    while places:
        weight, holders = places.popitem()
        copy = Parameter(weight.detach().bfloat16(), requires_grad=weight.requires_grad)
        for module, name in holders:
            setattr(module, name, copy)
        if weight.requires_grad:
            trained.append((copy, weight))
    if isinstance(model, PreTrainedModel) and isinstance(head := model.get_output_embeddings(), Module):
        head.register_forward_pre_hook(contiguous)
    return trained[::-1]


def contiguous(_: Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copy states of which only the last positions are kept: for a slice torch copies a frozen head for each row."""
    return tuple(one.contiguous() for one in inputs)


class MasterWeights:
    """The fp32 weights that an optimizer changes, of a model whose passes use copies in bfloat16.

    Each backward pass leaves its gradients here, added up in fp32; the copies keep none. An update smaller than the
    rounding of a copy is not lost: it adds up in the master (arXiv 1710.03740, section 3.1).

    Args:
        model: with fp32 weights, which are replaced; see `to_bfloat16`.
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.master_of = dict(to_bfloat16(model))
        for copy, master in self.master_of.items():
            copy.register_post_accumulate_grad_hook(partial(_take_gradient, master))

    def parameters(self) -> list[Parameter]:
        """Return the masters, in the order of the model's weights."""
        return list(self.master_of.values())

    def refresh(self) -> None:
        """Round the masters to the copies anew; to be called when they have changed."""
        with torch.no_grad():
            torch._foreach_copy_([*self.master_of], [*self.master_of.values()])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the model's weights by name, as its ``state_dict``, with the masters in place of their copies."""
        named = self.model.state_dict(keep_vars=True).items()
        return {name: self.master_of.get(weight, weight).detach() for name, weight in named}

    def load_state_dict(self, weights: Mapping[str, Tensor], strict: bool = True) -> None:
        """Restore the masters from what `state_dict` returned; all else stays as it is.

        Args:
            weights: by name.
            strict: whether the model must have all of these names.
        """
        unknown = weights.keys() - self.model.state_dict().keys() if strict else ()
        if unknown:
            raise RuntimeError(f"the model has no {min(unknown)}")
        with torch.no_grad():
            for name, copy in self.model.named_parameters():
                if copy in self.master_of:
                    self.master_of[copy].copy_(weights[name])
        self.refresh()


def _take_gradient(master: Parameter, copy: Parameter) -> None:
    """Add a copy's gradient to the master's, and release it."""
    assert copy.grad is not None
    if master.grad is None:
        master.grad = copy.grad.float()
    else:
        master.grad.add_(copy.grad)
    copy.grad = None
