"""Verifiers and grading: what is right, wrong, no answer, and what must never pass in silence."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astarpo.boxed import last_boxed
from astarpo.errors import InputError
from astarpo.rewards import verifiers
from astarpo.rewards.grading import GradingSettings, Item, NullGuard, grade, status_counts
from astarpo.rewards.verifiers import Response, gsm8k, integer, math, right_response

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


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("72", "48+24=72\n#### 72", "correct"),
        ("72", "####72", "correct"),
        ("72", "#### 72.", "correct"),
        ("72", "#### 72.00", "correct"),
        ("72", "#### $72", "correct"),
        ("72", "#### 72 clips", "correct"),
        ("72", "#### 72%", "correct"),
        ("72", "#### 72\n\nQuestion: what is 3+4?", "correct"),
        ("72", "#### 7 no\n#### 72", "correct"),
        ("72", "#### 72\n#### 7", "incorrect"),
        ("1,234", "#### 1234", "correct"),
        ("1234", "#### 1,234", "correct"),
        ("1234567", "#### $1 234 567", "correct"),
        ("-5", "#### -5", "correct"),
        ("-5", "#### -$5", "correct"),
        ("-5", "#### $-5", "correct"),
        ("-5", "#### \u22125", "correct"),
        ("-5", "#### 5", "incorrect"),
        ("5", "#### --5", "incorrect"),
        ("0.1", "#### .10", "correct"),
        ("0.3", "#### 0.30000000000000004", "incorrect"),  # equal as floats of fewer digits
        ("9007199254740993", "#### 9007199254740992", "incorrect"),  # equal as doubles
        ("72", "#### 72/2", "incorrect"),
        ("72", "#### 72 or 73", "incorrect"),
        ("72", "#### 7 2", "incorrect"),
        ("72", "#### 72e3", "incorrect"),
        ("72", "#### x = 72", "incorrect"),
        ("72", "#### the answer", "incorrect"),
        ("72", "The answer is 72", "no_answer"),
        ("72", r"\boxed{72}", "no_answer"),
        ("72", "72 ####", "no_answer"),
        ("72", "### 72", "no_answer"),
    ],
)
def test_gsm8k(gold, text, status):
    assert gsm8k(gold, response(text)).status == status


def test_equal_numbers_are_equal_answers():
    """So that votes for 1,200 and 1200.0 are counted together."""
    answers = {gsm8k("1", response(f"#### {text}")).answer for text in ("1,200", "$1200.0", "1200")}
    assert answers == {"1200"}


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        (r"\frac{1}{2}", r"so \boxed{1/2}", "correct"),
        (r"\frac{1}{2}", r"\boxed{0.5}", "correct"),
        (r"\sqrt{2}", r"\boxed{\sqrt{2}}", "correct"),
        (r"\sqrt{2}", r"\boxed{\sqrt{3}}", "incorrect"),
        (r"(1,2)", r"\boxed{(1, 2)}", "correct"),
        (r"(1,2)", r"\boxed{(2, 1)}", "incorrect"),
        (r"\text{A}", r"\boxed{A}", "correct"),
        (r"x^2+1", r"\boxed{1+x^2}", "correct"),
        (r"[0,1)", r"\boxed{[0,1)}", "correct"),
        (r"3\pi", r"\boxed{3\pi}", "correct"),
        (r"3\pi", r"\boxed{3}", "incorrect"),  # a bare gold answer is read as 3
        ("2", r"\boxed{1} no, \boxed{2}", "correct"),  # and not as the set {1, 2}
        ("2", r"\boxed{2} no, \boxed{1}", "incorrect"),
        ("5", r"\boxed{5 or 6}", "incorrect"),
        ("5", r"\boxed{x=5}", "correct"),
        ("9", "so 3 apples and then 9", "no_answer"),
        ("9", r"\boxed{}", "incorrect"),
        ("9", r"\boxed{\frac{}", "no_answer"),  # never closes
        ("9", r"\boxed{\frac{1}{}}", "incorrect"),
    ],
)
def test_math(gold, text, status):
    assert math(gold, response(text)).status == status


def test_an_unreadable_gold_answer_is_an_error_whatever_the_response():
    graded = grade([Item("math", "", response(r"\boxed{}"))], SETTINGS)[0]
    assert graded.reward is None and graded.status == "error"


def test_math_gives_up_in_time_and_the_next_item_still_works(monkeypatch):
    monkeypatch.setattr(verifiers, "COMPARING_SECONDS", 1)
    monkeypatch.setattr(verifiers, "PARSING_SECONDS", 1)
    slow = Item("math", "1", response(r"\boxed{2^{3^{4^{5^6}}}}"))
    started = time.monotonic()
    graded = grade([slow, slow, Item("math", "1", response(r"\boxed{1}"))], SETTINGS)
    assert time.monotonic() - started < 10
    assert [one.status for one in graded] == ["timeout", "timeout", "correct"]
    assert [one.reward for one in graded] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("verifier", "gold"), [("gsm8k", "-1,234"), ("integer", "7"), ("math", r"\frac12")]
)
def test_every_verifier_accepts_its_own_spelling_of_a_right_answer(verifier, gold):
    assert verifiers.VERIFIERS[verifier](gold, right_response(verifier, gold)).status == "correct"


@given(st.text(alphabet="#$ 0123456789,.-%ab\n", max_size=200))
def test_no_text_crashes_gsm8k(text):
    assert gsm8k("1", response(text)).status in ("correct", "incorrect", "no_answer")


def test_a_long_number_costs_no_more_than_its_length():
    assert gsm8k("1", response("#### " + "1" * 1_000_000)).status == "incorrect"
    assert gsm8k("1", response("#### " + "1 " * 100_000)).status == "incorrect"
    assert gsm8k("1", response("#### 1" + " a" * 100_000)).status == "incorrect"


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
    assert verifiers.SPELLINGS.keys() == verifiers.VERIFIERS.keys()
