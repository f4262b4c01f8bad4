"""The frozen base of LoRA's adapters in fewer bits: bfloat16, or 4 bits (NF4 of QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.loading import load_policy, place
from astarpo.model.policy import Policy
from astarpo.model.settings import Lora


def load_base(folder: str | Path, lora: Lora, device: str = "cpu", trust_remote_code: bool = False) -> Policy:
    """Load a model folder as the base of adapters.

    Args:
        folder: of the model.
        lora: says in which precision.
        device: where to put it.
        trust_remote_code: whether the model's own code may run.

    Raises:
        InputError: see `load_policy`.
    """
    precision = lora.base_precision
    if precision == "nf4":  # in RAM first, so that the device never holds more than 4 bits
        policy = load_policy(folder, trust_remote_code=trust_remote_code, dtype=torch.bfloat16)
        quantise(policy.model)
        place(policy.model, device)
        return policy
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return load_policy(folder, device, trust_remote_code=trust_remote_code, dtype=dtype)


def quantise(model: PreTrainedModel) -> None:
    """Round the matrices of a model's layers to NF4, in place, with a scale for each 64 weights.

    Embeddings and head stay as they are. Products are computed in bfloat16.

    Args:
        model: a causal language model in bfloat16, on the CPU.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    head = model.get_output_embeddings()
    for name, linear in list(model.named_modules()):
        if type(linear) is not torch.nn.Linear or linear is head:
            continue
        has_bias = linear.bias is not None
        new = Linear4bit(
            linear.in_features,
            linear.out_features,
            has_bias,
            compute_dtype=torch.bfloat16,
            compress_statistics=False,
            quant_type="nf4",
            device="meta",
        )
        new.weight = Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=False, module=new
        ).to("cpu")  # which quantises
        if has_bias:
            new.bias = linear.bias
        new.support_avx512bf16_for_cpu = False  # which would repack the weights, for passes without gradient only
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new)


def dequantised(weight: Tensor) -> Tensor:
    """Return a weight as passes use it: 4 bits as bfloat16, others as they are."""
    state: Any = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    whole: Tensor = dequantize_4bit(weight.data, state)
    return whole


def restore(model: torch.nn.Module) -> None:
    """Give a model ordinary layers in fp32, in place, with the weights that its passes use."""
    for name, layer in list(model.named_modules()):
        if getattr(getattr(layer, "weight", None), "quant_state", None) is None:
            continue
        linear = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        linear.weight = torch.nn.Parameter(dequantised(layer.weight).float(), requires_grad=False)
        if layer.bias is not None:
            linear.bias = layer.bias
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, linear)
    model.float()
