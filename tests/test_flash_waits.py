"""Packed rows with flash attention: the host waits for no answer, and numbers are those of padded rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import modeling_flash_attention_utils as flash

from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.training.critic_model import ValueModel

ROWS = [[4, 5, 6], [7, 8], [9, 10, 11, 12]], [[13, 14], [15, 16, 17], [18]]


class Reads(TorchDispatchMode):
    """Counts numbers that are read from tensors in a model's passes; for each, the host would wait for a GPU."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.count = 0
        body.register_forward_pre_hook(self._begin)
        body.register_forward_hook(lambda *_: self.__exit__(None, None, None))

    def _begin(self, *_: Any) -> None:
        self.__enter__()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += operation._schema.name == "aten::_local_scalar_dense"
        return operation(*args, **(kwargs or {}))


def varlen(query_LHD: Tensor, key_LGD: Tensor, value_LGD: Tensor, *, cu_seqlens_q: Tensor, **others: Any) -> Tensor:
    """What flash attention's kernel for variable lengths computes, without reading where rows begin on the host."""
    places_L = torch.arange(len(query_LHD))
    rows_L = torch.bucketize(places_L, cu_seqlens_q[1:], right=True)
    seen_LL = (rows_L[:, None] == rows_L) & (places_L[:, None] >= places_L)
    heads = [one.transpose(0, 1)[None] for one in (query_LHD, key_LGD, value_LGD)]
    attended = torch.nn.functional.scaled_dot_product_attention(
        *heads, attn_mask=seen_LL, enable_gqa=True, scale=others.get("softmax_scale")
    )
    return attended[0].transpose(0, 1)


@pytest.fixture
def with_flash(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tiny model with flash attention, whose kernel is a function on the CPU."""
    functions = (None, varlen, None, None, None), (flash._lazy_define_process_function(varlen), dict)
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda *_: functions)
    model = load_policy(tiny_folder).model
    model.config._attn_implementation_internal = "flash_attention_2"
    return model


@pytest.mark.parametrize(("cached", "waits"), [(True, 0), (False, 1)])  # False: with recomputed activations
def test_a_pass_of_packed_rows_does_not_wait(tiny_folder: Path, with_flash: Any, cached: bool, waits: int) -> None:
    batch = collate(*ROWS, [1], packed=True)
    with torch.no_grad():
        expected_BT, _ = token_log_probs(load_policy(tiny_folder).model, collate(*ROWS, [1]), 1.0)
        reads = Reads(with_flash.base_model)
        found_BT, _ = token_log_probs(with_flash, batch, 1.0, share_prefix=cached)
    assert reads.count == waits
    assert torch.allclose(found_BT, expected_BT, atol=1e-5) and expected_BT.abs().max() > 1


def test_nor_does_the_critic(tiny_folder: Path, with_flash: Any) -> None:
    padded = ValueModel(load_policy(tiny_folder).model.base_model, 16)
    torch.nn.init.normal_(padded.head.weight)
    packed = ValueModel(with_flash.base_model, 16)
    packed.head, packed.cached = padded.head, True
    with torch.no_grad():
        expected_BT = padded(collate(*ROWS, [1]))
        reads = Reads(packed.body)
        found_BT = packed(collate(*ROWS, [1], packed=True))
    assert reads.count == 0
    assert torch.allclose(found_BT, expected_BT, atol=1e-5) and expected_BT.abs().max() > 0.1
