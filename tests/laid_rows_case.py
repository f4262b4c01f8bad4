"""Rows laid end to end beside padded ones: the same log-probabilities, entropies and gradients."""

from __future__ import annotations

from typing import Any, Literal

import torch

from astarpo.model.chunked_log_probs import find_head
from astarpo.model.log_probs import collate, token_log_probs

END = [1]
How = Literal["packed", "shared"]  # as `collate` names them
Rows = tuple[list[list[int]], list[list[int]]]  # prompts and responses


def scores(model: Any, rows: Rows, laid: bool, chunked: bool = False, share: bool = False, *, how: How) -> Any:
    """Log-probabilities, entropies, and the gradient of all weights of a weighted sum of them."""
    head = find_head(model) if chunked else None
    batch = collate(*rows, END, **{how: laid})  # type: ignore[arg-type]
    assert (batch.packed is not None) == laid
    model.zero_grad(set_to_none=True)
    limit = 0 if chunked else None
    found_BT, entropy_BT = token_log_probs(model, batch, 0.8, "with_gradient", head, 3, limit, share)
    assert entropy_BT is not None
    weights_BT = torch.arange(1.0, 1.0 + found_BT.numel()).view_as(found_BT) / found_BT.numel()
    ((found_BT * weights_BT).sum() + 0.3 * entropy_BT.sum()).backward()
    gradients = [one.grad.clone() for one in model.parameters() if one.grad is not None]
    model.zero_grad(set_to_none=True)
    return found_BT.detach(), entropy_BT.detach(), gradients


def assert_equal(model: Any, rows: Rows, **options: Any) -> None:
    """Compare rows laid end to end with padded ones."""
    expected_BT, expected_entropy_BT, expected = scores(model, rows, False, **options)
    found_BT, entropy_BT, gradients = scores(model, rows, True, **options)
    assert torch.allclose(found_BT, expected_BT, atol=1e-5, rtol=0) and expected_BT.abs().max() > 1
    assert torch.allclose(entropy_BT, expected_entropy_BT, atol=1e-5, rtol=0)
    assert len(gradients) == len(expected) > 0
    for one, other in zip(gradients, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)
    assert max(float(one.abs().max()) for one in expected) > 0.01
