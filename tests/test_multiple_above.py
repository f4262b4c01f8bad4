r"""The verifier of a task with many right answers: every right answer, in one spelling, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astarpo.rewards import verifiers
from astarpo.rewards.grading import Question, grade
from astarpo.rewards.multiple_above import multiple_above, smallest_multiple_above
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response

GOLD = json.dumps({"factor": 7, "above": 21, "at_most": 98})


def status(text: str, gold: str = GOLD) -> str:
    return multiple_above(gold, Response(text, [], "stop")).status


def test_every_multiple_within_the_bounds_is_right_and_no_other_number():
    right = [number for number in range(1100) if status(rf"\boxed{{{number}}}") == "correct"]
    assert right == [28, 35, 42, 49, 56, 63, 70, 77, 84, 91, 98]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("28", "no_answer"),
        ("", "no_answer"),
        (r"\boxed{28", "no_answer"),  # not closed
        ("7*4=28\n\\boxed{28}", "correct"),
        (r"\boxed{30} no, \boxed{28}", "correct"),  # the last one counts
        (r"\boxed{28} no, \boxed{30}", "incorrect"),
        (r"\boxed{28} or \boxed{35}", "incorrect"),  # no hedging
        (r"\boxed{28}, \boxed{35}", "incorrect"),
        (r"\boxed{28,35}", "incorrect"),
        (r"\boxed{}", "incorrect"),
        (r"\boxed{-28}", "incorrect"),
        (r"\boxed{+28}", "incorrect"),
        (r"\boxed{028}", "incorrect"),
        (r"\boxed{28.0}", "incorrect"),
        (r"\boxed{7*4}", "incorrect"),
        (r"\boxed{x=28}", "incorrect"),
        (r"\boxed{28\text{ cm}}", "incorrect"),
        (r"\boxed{2 8}", "incorrect"),
        ("\\boxed{28\n}", "incorrect"),
        ("\\boxed{\u0662\u0668}", "incorrect"),  # Arabic digits, which int() reads
        ("\\boxed{\uff12\uff18}", "incorrect"),  # full width
        ("\\boxed{28\u00b2}", "incorrect"),
        (r"\boxed{2_8}", "incorrect"),  # int() reads it
        (r"\boxed{0}", "incorrect"),
        (r"\boxed{14}", "incorrect"),  # a multiple, too small
        (r"\boxed{21}", "incorrect"),  # the bound itself
        (r"\boxed{105}", "incorrect"),  # a multiple, too large
        (r"\boxed{29}", "incorrect"),
    ],
)
def test_only_a_plain_number_counts(text, expected):
    assert status(text) == expected


def test_a_question_that_the_model_adds_does_not_count():
    assert status("\\boxed{28}\nQuestion: a multiple of 5 above 3?\n\\boxed{5}") == "correct"


def test_zero_is_never_above_a_bound():
    gold = json.dumps({"factor": 2, "above": 0, "at_most": 9})
    assert [number for number in range(12) if status(rf"\boxed{{{number}}}", gold) == "correct"] == [2, 4, 6, 8]
    assert smallest_multiple_above(gold) == r"\boxed{2}" and smallest_multiple_above(GOLD) == r"\boxed{28}"


def test_a_long_number_costs_no_more_than_its_length():
    assert status(r"\boxed{" + "7" * 1_000_000 + "}") == "incorrect"


@given(st.text(alphabet="0123456789+-*, .\\boxed{}\u0663", max_size=60))
def test_no_text_crashes_it(text):
    assert status(text) in ("correct", "incorrect", "no_answer")


@pytest.mark.parametrize(
    "gold",
    [
        "",
        "28",
        "[7]",
        '{"factor": 7, "above": 21}',
        '{"factor": 7.0, "above": 21, "at_most": 98}',
        '{"factor": true, "above": 21, "at_most": 98}',
        '{"factor": 0, "above": 21, "at_most": 98}',
        '{"factor": 7, "above": -1, "at_most": 98}',
        '{"factor": 7, "above": 21, "at_most": 27}',  # nothing would be right
    ],
)
def test_a_gold_answer_without_right_answers_is_an_error_not_a_reward(gold):
    settings = GradingSettings(max_null_rate=1.0)
    (graded,) = grade([Question("multiple_above", gold, Response(r"\boxed{28}", [], "stop"))], settings)
    assert graded.status == "error" and graded.reward is None


def test_its_answers_are_no_gold_answers():
    assert not verifiers.takes_answers("multiple_above") and verifiers.takes_answers("integer")
