"""The reported KL: worked out by hand from log-probabilities, and never negative."""

from __future__ import annotations

import pytest
import torch
import training_case as case

from astarpo.objectives.loss_terms import k3
from astarpo.training.metrics import step_metrics


def test_k3_stays_at_or_above_zero_where_rounding_is_larger_than_it():
    log_probs = -torch.linspace(0.0, 12.0, 10_001)
    anchor = log_probs + torch.linspace(-1e-4, 1e-4, 10_001)
    found = k3(log_probs, anchor)
    assert (found >= 0).all()
    difference = (anchor - log_probs).double()
    assert torch.allclose(found.double(), difference**2 / 2, rtol=1e-3, atol=1e-11)


def test_kl_and_log_ratio_of_an_update_by_hand(tiny_folder):
    """Per response: sum_t (q/p - 1 - ln q/p), then that over its length; and the same of the plain ln p/q."""
    made = case.trainer(tiny_folder)
    engine = made.engine
    with torch.no_grad():  # the policy moves away from the reference
        torch.manual_seed(3)
        for weight in engine.policy.model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    prompts = [[5, 6], [7], [8, 9, 10]]
    responses = [[11, 12, 13, 14], [15], [16, 17]]
    parts = engine.micro_batches(prompts, responses, [0, 1, 2])
    policy_BT = engine.log_probs("policy", parts, 3, 4)
    reference_BT = engine.log_probs("reference", parts, 3, 4)
    targets = {
        "advantage_B": torch.tensor([0.3, -0.2, 0.1]),
        "anchor_log_prob_B": reference_BT.sum(-1),
    }
    sums = engine.update(parts, targets, reference_BT, made.loss, 0)

    kl, ratio = [], []
    for row, response in enumerate(responses):
        p = [float(policy_BT[row, t]) for t in range(len(response))]
        q = [float(reference_BT[row, t]) for t in range(len(response))]
        pairs = list(zip(p, q, strict=True))
        kl.append(sum(2.718281828459045 ** (b - a) - 1 - (b - a) for a, b in pairs))
        ratio.append(sum(a - b for a, b in pairs))
    lengths = [4, 1, 2]
    graded = [_Known()] * 3
    found = step_metrics(graded, [_Drawn(n) for n in lengths], [sums])
    assert found["kl_per_sequence"] == pytest.approx(sum(kl) / 3, rel=1e-4)
    assert found["kl_per_token"] == pytest.approx(sum(a / n for a, n in zip(kl, lengths, strict=True)) / 3, rel=1e-4)
    assert found["log_ratio"] == pytest.approx(sum(ratio) / 3, rel=1e-4)
    assert found["log_ratio_per_token"] == pytest.approx(
        sum(a / n for a, n in zip(ratio, lengths, strict=True)) / 3, rel=1e-4
    )
    assert found["kl_per_sequence"] > 0.001


def test_kl_is_never_negative_in_a_training_whose_log_ratio_is(tiny_folder, tmp_path):
    rows = case.trainer(tiny_folder, lr=3e-2, updates_per_rollout=2).run(tmp_path).metrics[1:]
    assert all(row["kl_per_sequence"] >= 0 and row["kl_per_token"] >= 0 for row in rows)
    assert any(row["log_ratio"] < 0 for row in rows)


class _Known:
    reward, status = 1.0, "correct"


class _Drawn:
    finish_reason = "stop"

    def __init__(self, length: int) -> None:
        self.token_ids = [1] * length
