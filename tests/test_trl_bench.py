"""The comparison with TRL: its targets, its table, and the least time of a step; TRL itself is not needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from trl_cases import CASES, Measurement
from trl_limit import Batch, Peaks, distinct_tokens, least_seconds
from trl_speed import ratios, table

from astarpo.memory.shape import ModelShape

MEDIANS = {
    "ours": {"stage 1": 10.0, "stage 2": 2.0, "peak memory, stage 1": 300.0, "peak memory, stage 2": 500.0},
    "theirs": {"stage 1": 4.0, "stage 2": 3.6, "peak memory, stage 1": 450.0, "peak memory, stage 2": 400.0},
}
RATIOS = [2.5, 1.8, 1.5, 0.8]


@pytest.mark.parametrize(
    ("case", "compiled", "missed"),
    [
        ("tiny", False, [False, False, False, True]),  # targets 2, 1.6, 1, 1
        ("tiny", True, [False, True, False, True]),  # 2 where it is compiled
        ("smollm2", False, [True, False, False, True]),  # 3 in stage 1
    ],
)
def test_a_target_that_is_missed_is_marked(case, compiled, missed):
    rows = ratios("it", CASES[case], MEDIANS, compiled)
    assert [row["ratio"] for row in rows] == pytest.approx(RATIOS)
    lines = table(rows, CASES[case], {"stage 1": 8, "stage 2": 4}).splitlines()
    assert [line.endswith("| missed |") for line in lines if " it: " in line] == missed


def test_grpo_has_no_first_stage():
    assert CASES["grpo"].stages == ("stage 2",)
    assert CASES["tiny"].stages == ("stage 1", "stage 2")


def test_another_process_measures_the_same():
    asked = Measurement(CASES["few-shot"].changed(prompts=3, tokens=None), "stage 2", 2, True, 16)
    assert Measurement.from_json(asked.to_json()) == asked
    assert (asked.case.prompts, asked.case.tokens) == (3, CASES["few-shot"].tokens)
    assert asked.needed_prompts == 3 * (CASES["few-shot"].steps + 3)


def test_a_beginning_counts_once():
    assert distinct_tokens([[1, 2, 3], [1, 2, 4], [1, 2, 3], [2]]) == 5


def test_the_least_seconds_by_hand():
    """Of 56 weights, 16 of them the head; 2 responses of 3 tokens after prompts of 10 different tokens."""
    shape = ModelShape(1, 2, 4, 1, 1, 2, vocabulary=8, tied=True, parameters=56)
    found = least_seconds(shape, Batch(10, 2, 3.0, 8.0), Peaks(flops=100.0, bytes_per_s=50.0))
    attention = 4 * 2 * 16 * 8 / 2
    one_pass = 2 * 40 * 16 + 2 * 16 * 6 + attention
    assert found["reference"] == pytest.approx(one_pass / 100)
    # Reading 56 weights of 4 bytes takes longer than multiplying them with two rows.
    assert found["generate"] == pytest.approx((2 * 40 * 10 + attention) / 100 + 3 * 4 * 56 / 50)
    assert found["update"] == pytest.approx(3 * one_pass / 100 + 7 * 4 * 56 / 50)
    compute = least_seconds(shape, Batch(10, 2, 3.0, 8.0), Peaks(flops=100.0, bytes_per_s=1e9))
    assert compute["generate"] == pytest.approx(one_pass / 100)
