"""Verifiers and grading: what is right, wrong, no answer, and what must never pass in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astarpo.errors import InputError
from astarpo.rewards import verifiers
from astarpo.rewards.grading import GradingSettings, Item, NullGuard, grade, status_counts
from astarpo.rewards.verifiers import Response, integer, last_boxed

SETTINGS = GradingSettings("incorrect", 0.02, 20)


def response(text, finish_reason="stop"):
    return Response(text, [], finish_reason)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{3}", "3"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{1} and \boxed{2", "1"),  # the last box never closes
        (r"\boxed {4}", "4"),
        ("no box", None),
        (r"\boxed", None),
        ("}{", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("7", r"\boxed{7}", "correct"),
        ("7", r"\boxed{ +7 }", "correct"),
        ("7", r"\boxed{07}", "correct"),
        ("-7", r"\boxed{-7}", "correct"),
        ("-7", r"\boxed{7}", "incorrect"),
        ("1,234", r"\boxed{1234}", "correct"),
        ("7", r"\boxed{7.0}", "incorrect"),
        ("7", r"\boxed{}", "incorrect"),
        ("7", r"\boxed{7} \boxed{8}", "incorrect"),
        ("7", "7", "no_answer"),
        ("7", r"\boxed{7", "no_answer"),
    ],
)
def test_integer(gold, text, status):
    assert integer(gold, response(text)).status == status


def test_a_gold_answer_that_is_no_integer_is_an_error_not_a_reward():
    graded = grade([Item("integer", "seven", response(r"\boxed{7}"))], SETTINGS)[0]
    assert graded.reward is None and graded.status == "error" and "seven" in graded.detail


@given(st.text(alphabet="\\boxed{}1 -+,", max_size=200))
def test_no_text_crashes_the_verifier(text):
    assert integer("1", response(text)).status in ("correct", "incorrect", "no_answer")


def test_a_hostile_response_costs_no_more_than_its_length():
    assert last_boxed(r"\boxed{" * 100_000) is None
    assert last_boxed("{" * 200_000 + r"\boxed{1}") == "1"


def test_truncated_responses_follow_the_policy():
    item = Item("integer", "7", response(r"\boxed{7}", "length"))
    assert grade([item], SETTINGS)[0].reward == 0.0
    as_judged = GradingSettings("as_judged", 0.02, 20)
    assert grade([item], as_judged)[0].reward == 1.0
    nothing = Item("integer", "7", response("7", "length"))
    assert grade([nothing], SETTINGS)[0].status == "no_answer"


def test_order_and_counts():
    items = [Item("integer", "1", response(rf"\boxed{{{n}}}")) for n in (1, 2, 1)]
    grades = grade(items, SETTINGS)
    assert [graded.reward for graded in grades] == [1.0, 0.0, 1.0]
    assert status_counts(grades) == {"correct": 2, "incorrect": 1}


def test_an_unknown_verifier_is_refused_by_name():
    with pytest.raises(InputError, match="unknown verifier 'nope'; known are"):
        grade([Item("nope", "1", response("1"))], SETTINGS)


def test_nineteen_nulls_pass_and_twenty_stop_the_stage():
    bad, good = Item("integer", "x", response("")), Item("integer", "1", response(r"\boxed{1}"))
    assert len(grade([bad] * 19 + [good] * 10, SETTINGS)) == 29
    with pytest.raises(
        InputError, match="20 of the last 20 grades are null.*gold answer is no integer"
    ):
        grade([bad] * 20, SETTINGS)


def test_a_low_rate_of_nulls_never_stops_the_stage():
    items = [
        Item("integer", "x" if i % 60 == 59 else "1", response(r"\boxed{1}")) for i in range(3000)
    ]
    grades = grade(items, SETTINGS)  # 50 nulls in all, 17 at most among 1,000
    assert sum(graded.reward is None for graded in grades) == 50


def test_the_guard_counts_over_calls():
    guard, bad = NullGuard(SETTINGS), Item("integer", "x", response(""))
    grade([bad] * 10, SETTINGS, guard)
    with pytest.raises(InputError):
        grade([bad] * 10, SETTINGS, guard)


def test_every_verifier_is_registered_under_its_own_name():
    assert all(function.__name__ == name for name, function in verifiers.VERIFIERS.items())
