"""Edges of verdicts, rewards and votes where a looser rule would agree with the right one almost everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astarpo.common.columns import DATASET, IMPORTED
from astarpo.common.files import write_table
from astarpo.evaluation.scores import maj_at_k
from astarpo.rewards.countdown import countdown
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.stage import grade_table
from astarpo.rewards.verdicts import Response

GOLD = json.dumps({"numbers": [2, 2, 3], "solution": "2*2+3", "target": 7})


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        ("2*2+3", "correct"),
        ("3+2+2", "correct"),
        ("2*3-2", "incorrect"),  # the numbers, but 4
        ("2*2*3-3-2", "incorrect"),  # 7, but 2 and 3 once too often
        ("2+2+2-2+3", "incorrect"),
        ("9-2", "incorrect"),  # 7 of other numbers
        ("3*3-2", "incorrect"),  # the same numbers in a set, but not as often
    ],
)
def test_countdown_wants_the_value_and_each_number_as_often_as_it_is_given(expression, status):
    assert countdown(GOLD, Response(f"\\boxed{{{expression}}}", [], "stop")).status == status


def test_an_imported_reward_of_zero_is_a_wrong_answer(tmp_path):
    problem = {
        "prompt_id": "a",
        "problem": "1+1",
        "prompt": "1+1",
        "gold": "2",
        "verifier": "integer",
        "worked_solution": None,
        "source_index": 0,
    }
    write_table(tmp_path / "problems", [problem], DATASET)
    rows = [
        {"prompt_id": "a", "sample_index": index, "response": None, "imported_reward": reward}
        for index, reward in enumerate((0.0, 1.0))
    ]
    write_table(tmp_path / "generations", rows, IMPORTED)
    settings = GradingSettings(truncated="as_judged", max_null_rate=1.0, min_nulls=20)
    graded, counts = grade_table(str(tmp_path / "generations"), str(tmp_path / "problems"), settings)
    assert [(row["reward"], row["status"]) for row in graded] == [
        (0.0, "incorrect"),
        (1.0, "correct"),
    ]
    assert counts == {"incorrect": 1, "correct": 1}


def test_an_answer_that_is_right_in_half_of_its_responses_wins_as_right():
    """One of the two was cut, or not graded."""
    rewards_PK = np.array([[1.0, 0.0, 0.0], [np.nan, 1.0, 0.0]])
    assert maj_at_k(rewards_PK, [[7, 7, 5], [7, 7, 5]]).tolist() == [1.0, 1.0]
