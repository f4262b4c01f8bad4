"""Benchmarks of bfloat16's rounding errors and of AdamW: what they compare, by hand and by another route."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from astarpo.model.loading import load_policy
from bench import adamw, rounding

DRAWN = [[4, 5, 6], [7, 8]] * 4, [[9, 10], [11, 12, 13]] * 4  # no end token among them


def test_columns_by_hand() -> None:
    exact_N, found_N = torch.zeros(3), torch.tensor([1.0, -1.0, 3.0])
    assert rounding.of_log_probs(exact_N, found_N) == "1.6667 | 1.9149 | 2.800 | 1.0000"
    exact, found = (
        {"a": torch.tensor([3.0, 0.0]), "b": torch.ones(1)},
        {"a": torch.tensor([3.0, 4.0]), "b": -torch.ones(1)},
    )
    assert rounding.of_gradients(exact, found, ["a"]) == "0.60000 | 1.3333 | 1.6667"
    assert rounding.of_gradients(exact, found, ["b"]) == "-1.00000 | 2.0000 | 1.0000"


def test_the_gradient_is_that_of_the_update(tiny_folder: Path) -> None:
    """At first, A*-PO's is -2 beta2 times the mean of A grad ln pi(y|x)."""
    model = load_policy(tiny_folder).model
    total = torch.zeros(())
    for number, (prompt, response) in enumerate(zip(*DRAWN, strict=True)):
        log_probs_SV = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        advantage = 0.5 if number % 2 == 0 else -0.5
        log_prob = sum(log_probs_SV[len(prompt) - 1 + place, token] for place, token in enumerate(response))
        total = total - 2 * rounding.BETA2["beta2"] * advantage * log_prob / 8
    total.backward()
    exact = rounding.compute(tiny_folder, "float32", DRAWN)
    assert len(exact.log_probs_N) == 20
    for name, weight in model.named_parameters():
        assert torch.allclose(exact.gradients[name], weight.grad, rtol=1e-4, atol=1e-9), name
    found = {way: rounding.compute(tiny_folder, way, DRAWN) for way in rounding.WAYS}
    for one in found.values():
        cosine, difference, _ = map(
            float, rounding.of_gradients(exact.gradients, one.gradients, list(exact.gradients)).split("|")
        )
        assert cosine > 0.99 and 1e-4 < difference < 0.1
    assert not torch.equal(found["autocast"].log_probs_N, found["bfloat16"].log_probs_N)


def test_both_ways_of_adamw_start_and_end_alike(capsys: pytest.CaptureFixture[str]) -> None:
    found = adamw.compare("tiny", 1)
    assert found["ours"] > 0 and found["theirs"] is not None and found["theirs"] > 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert (last[:3], last[5]) == (["after", "2", "steps"], "673,024") and float(last[-1]) < 1e-8
