"""Estimated memory against torch's own count of what small trainings allocate; `bench/memory.py` has larger ones."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from astarpo.model.world import World

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import memory
from bench.allocations import TRACED_LOADING, Allocations
from bench.training import train

SMALL = replace(memory.CASES["tiny"], settings={"prompts_per_batch": 32}, machine={"micro_batch": 16}, response=24)
CASES = {
    "plain": SMALL,
    "recomputed in bf16": replace(
        SMALL,
        settings={**SMALL.settings, **memory.BF16},
        machine={**SMALL.machine, **memory.AGAIN},
    ),
    "one micro-batch": replace(SMALL, settings={"prompts_per_batch": 16}),
    "critic": replace(SMALL, settings={**SMALL.settings, **memory.PPO}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_estimate_is_what_torch_allocates(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    for key, value in TRACED_LOADING.items():
        monkeypatch.setenv(key, value)
    memory.write_model(case, tmp_path / "model")
    settings, machine = memory.make_settings(case)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    allocations = Allocations()
    with allocations.tracing() as phase:
        train(tmp_path / "model", settings, machine, World(), case.prompt, phase, tmp_path / "out")
    torch.set_num_threads(threads)
    expected = memory.estimated(case)
    assert max(expected.values()) == pytest.approx(max(allocations.peaks.values()), rel=0.15)
    for named in ("load", "reference", "update", "export"):
        assert expected[named] == pytest.approx(allocations.peaks[named], rel=0.2), named


@pytest.mark.parametrize("name", ["ZeRO 2, bf16", "ZeRO 3, bf16, two processes", "ZeRO 2, LoRA"])
def test_the_estimate_is_what_deepspeed_allocates(name: str) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: `make test-deepspeed` installs it")
    peak = max(memory.measured(name).values())
    assert max(memory.estimated(memory.CASES[name]).values()) == pytest.approx(peak, rel=0.15)
