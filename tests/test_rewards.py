"""Verifiers and grading: what is right, wrong, no answer, and what must never pass in silence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astarpo.common.errors import InputError
from astarpo.data.boxed import last_boxed
from astarpo.rewards import latex, verifiers
from astarpo.rewards.countdown import countdown
from astarpo.rewards.expressions import evaluate
from astarpo.rewards.grading import NullGuard, Question, grade, status_counts
from astarpo.rewards.latex import math
from astarpo.rewards.numbers import gsm8k, gsm8k_flexible, integer
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.values import plain_number
from astarpo.rewards.verifiers import Response, boxed, right_response

SETTINGS = GradingSettings(truncated="incorrect", max_null_rate=0.02, min_nulls=20)


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
        (r"\boxed 42 is it", "42"),
        (r"\boxed\frac12", r"\frac12"),
        (r"\boxed A.", "A"),
        (r"\boxed{3} is the \boxed answer", "3"),
        (r"\fbox{4}", "4"),
        (r"\framebox{4}", "4"),
        (r"\boxed{\{1\}} \}", r"\{1\}"),  # a brace with a backslash closes nothing
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$, and $\boxed{3}$", "1, 2, 3"),
        (r"\boxed{1} \quad\text{or}\quad \boxed{2}", "1, 2"),
        (r"x=\boxed{1} or x=\boxed{2}", "1, 2"),
        (r"\boxed{1}, or \boxed{ 1 }", "1"),
        (r"\boxed{1} \boxed{2}", "2"),  # nothing says that they belong together
        (r"\boxed{1} and therefore \boxed{2}", "2"),
        (r"\boxed{1}" + " " * 100 + r"and \boxed{2}", "2"),
        ("no box", None),
        (r"\boxed", None),
        ("}{", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1}<|endoftext|>\boxed{2}", "1"),
        (r"\boxed{1}<|im_end|>\boxed{2}", "1"),
        (r"\boxed{1}</s>\boxed{2}", "1"),
        (r"<|endoftext|>\boxed{2}", None),
        ("\\boxed{1}\n\nQuestion: 1+1?\nAnswer: \\boxed{2}", "1"),
        ("Question: 1+1?\nAnswer: \\boxed{2}", "2"),
    ],
)
@pytest.mark.parametrize("verifier", [math, integer])
def test_the_box_before_the_end_of_the_response(verifier, text, content):
    assert verifier("3", Response(text, [], "stop")).answer == content


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("7", r"\boxed{7}", "correct"),
        ("7", r"\boxed{ +7 }", "correct"),
        ("7", r"\boxed{07}", "correct"),
        ("-7", r"\boxed{-7}", "correct"),
        ("-7", r"\boxed{7}", "incorrect"),
        ("1,234", r"\boxed{1234}", "correct"),
        ("7", r"\boxed{7.0}", "correct"),
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
        ("72", "#### x = 72", "correct"),
        ("72", "#### 71 = 72", "incorrect"),
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
    graded = grade([Question("math", "", response(r"\boxed{}"))], SETTINGS)[0]
    assert graded.reward is None and graded.status == "error"


def test_math_gives_up_in_time_and_the_next_item_still_works():
    settings = GradingSettings(truncated="incorrect", max_null_rate=1.0, min_nulls=100, timeout_s=1.0)
    slow = Question("math", "1", response(r"\boxed{\int_0^\infty \frac{\sin x^3}{x+e^x} dx}"))
    graded = grade([slow, slow, Question("math", "1", response(r"\boxed{1+0}"))], settings)
    assert [one.status for one in graded] == ["timeout", "timeout", "correct"]
    assert [one.reward for one in graded] == [None, None, 1.0]


@pytest.mark.parametrize(
    ("verifier", "gold"),
    [
        ("gsm8k", "-1,234"),
        ("gsm8k_flexible", "1,234"),
        ("integer", "7"),
        ("math", r"\frac12"),
        ("multiple", "math: 2"),
        ("countdown", '{"numbers": [2, 3], "target": 6, "solution": "2*3"}'),
        ("multiple_above", '{"factor": 7, "above": 28, "at_most": 35}'),
    ],
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
    graded = grade([Question("integer", "seven", response(r"\boxed{7}"))], SETTINGS)[0]
    assert graded.reward is None and graded.status == "error" and "seven" in graded.detail


@given(st.text(alphabet="\\boxed{}1 -+,", max_size=200))
def test_no_text_crashes_the_verifier(text):
    assert integer("1", response(text)).status in ("correct", "incorrect", "no_answer")


def test_a_hostile_response_costs_no_more_than_its_length():
    assert last_boxed(r"\boxed{" * 100_000) is None
    assert last_boxed("{" * 200_000 + r"\boxed{1}") == "1"


def test_truncated_responses_follow_the_policy():
    item = Question("integer", "7", response(r"\boxed{7}", "length"))
    assert grade([item], SETTINGS)[0].reward == 0.0
    as_judged = GradingSettings(truncated="as_judged", max_null_rate=0.02, min_nulls=20)
    assert grade([item], as_judged)[0].reward == 1.0
    nothing = Question("integer", "7", response("7", "length"))
    assert grade([nothing], SETTINGS)[0].status == "no_answer"


def test_order_and_counts():
    items = [Question("integer", "1", response(rf"\boxed{{{n}}}")) for n in (1, 2, 1)]
    grades = grade(items, SETTINGS)
    assert [graded.reward for graded in grades] == [1.0, 0.0, 1.0]
    assert status_counts(grades) == {"correct": 2, "incorrect": 1}


def test_an_unknown_verifier_is_refused_by_name():
    with pytest.raises(InputError, match="unknown verifier 'nope'; known are"):
        grade([Question("nope", "1", response("1"))], SETTINGS)


def test_nineteen_nulls_pass_and_twenty_stop_the_stage():
    bad, good = Question("integer", "x", response("")), Question("integer", "1", response(r"\boxed{1}"))
    assert len(grade([bad] * 19 + [good] * 10, SETTINGS)) == 29
    with pytest.raises(InputError, match="20 of the last 20 grades are null.*gold answer is not an integer"):
        grade([bad] * 20, SETTINGS)


def test_a_low_rate_of_nulls_never_stops_the_stage():
    items = [Question("integer", "x" if i % 60 == 59 else "1", response(r"\boxed{1}")) for i in range(3000)]
    grades = grade(items, SETTINGS)  # 50 nulls in all, 17 at most among 1,000
    assert sum(graded.reward is None for graded in grades) == 50


def test_the_guard_counts_over_calls():
    guard, bad = NullGuard(SETTINGS), Question("integer", "x", response(""))
    grade([bad] * 10, SETTINGS, guard)
    with pytest.raises(InputError):
        grade([bad] * 10, SETTINGS, guard)


def test_every_verifier_is_registered_under_its_own_name():
    assert all(entry.judge.__name__ == name for name, entry in verifiers.REGISTRY.items())


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("72", "So 48+24 = 72.", "correct"),
        ("72", "#### 72", "correct"),
        ("72", "72 of 73", "incorrect"),
        ("-5", "It is -5", "correct"),
        ("3", "8-5-3", "correct"),  # a minus between numbers is no sign
        ("5", "x-5", "correct"),
        ("1,234", "1,234 apples", "correct"),
        ("1234", "it costs $1,234.00.", "correct"),
        ("2", "3, 2", "correct"),
        ("32", "3,2", "incorrect"),
        ("5", "five", "no_answer"),
        ("5", "", "no_answer"),
    ],
)
def test_gsm8k_flexible(gold, text, status):
    assert gsm8k_flexible(gold, response(text)).status == status


SUM = '{"numbers": [2, 3, 7], "target": 13, "solution": "2*3+7"}'


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (r"\boxed{2*3+7}", "correct"),
        (r"\boxed{7 + (3*2)}", "correct"),
        (r"\boxed{7+3\times 2 = 13}", "correct"),
        (r"\boxed{7 - -(3)\cdot2}", "correct"),
        (r"\boxed{13}", "incorrect"),  # the target is no expression of the numbers
        (r"\boxed{7+3+3}", "incorrect"),  # another number, and one left out
        (r"\boxed{2*3+7+0}", "incorrect"),
        (r"\boxed{2*3+7*1}", "incorrect"),
        (r"\boxed{27-3}", "incorrect"),  # 2 and 7 are not 27
        (r"\boxed{2*(3+7}", "incorrect"),
        (r"\boxed{2**3+7}", "incorrect"),
        (r"\boxed{7/(2+3-5)}", "incorrect"),
        (r"\boxed{__import__('os')}", "incorrect"),
        (r"\boxed{}", "incorrect"),
        ("2*3+7", "no_answer"),
    ],
)
def test_countdown(text, status):
    assert countdown(SUM, response(text)).status == status


def test_countdown_is_exact():
    gold = '{"numbers": [1, 3, 3], "target": 1, "solution": "1/3*3"}'
    assert countdown(gold, response(r"\boxed{1/3*3}")).status == "correct"
    assert evaluate("1/3+1/3+1/3")[0] == 1
    assert evaluate("8-3-2") == (3, [8, 3, 2]) and evaluate("8/4/2")[0] == 1


@given(st.text(alphabet="0123456789+-*/() .=$", max_size=60))
def test_no_expression_crashes_countdown(text):
    assert countdown(SUM, response(rf"\boxed{{{text}}}")).status in ("correct", "incorrect")


@pytest.mark.parametrize("text", ["(" * 100_000, "-" * 100_000, "1+" * 100_000, "9" * 100_000])
def test_a_hostile_expression_costs_no_more_than_its_length(text):
    assert countdown(SUM, response(rf"\boxed{{{text}}}")).status == "incorrect"


@pytest.mark.parametrize("gold", ["", "13", '{"numbers": [1]}', '{"numbers": ["1"], "target": 1}'])
def test_a_gold_answer_that_is_no_countdown_is_an_error(gold):
    (graded,) = grade([Question("countdown", gold, response(r"\boxed{1}"))], SETTINGS)
    assert graded.status == "error" and graded.reward is None


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("integer: 7", r"\boxed{7}", "correct"),
        (r"math: \frac12", r"\boxed{0.5}", "correct"),
        ("gsm8k: 7", "#### 7", "correct"),
        ("gsm8k: 7", r"\boxed{7}", "no_answer"),
    ],
)
def test_multiple_judges_by_the_verifier_that_the_gold_answer_names(gold, text, status):
    assert verifiers.multiple(gold, response(text)).status == status


@pytest.mark.parametrize("gold", ["7", "nope: 7", "multiple: integer: 7"])
def test_a_gold_answer_without_a_verifier_is_an_error(gold):
    (graded,) = grade([Question("multiple", gold, response(r"\boxed{7}"))], SETTINGS)
    assert graded.status == "error" and "must begin with one of" in graded.detail


# The fast path of `math`


NUMBERS = st.one_of(
    st.integers(-2000, 2000).map(str),
    st.tuples(st.integers(-99, 99), st.integers(0, 999)).map(lambda p: f"{p[0]}.{p[1]:03}"),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda p: f"{p[0]}/{p[1]}"),
    st.sampled_from(["07", "0", "-0", "27.0", "1.5", "3/2", r"\frac{3}{2}", r"\dfrac{6}{4}", "1.50"]),
)


def bare_math_verify(gold, answer):
    """What math-verify says, asked without any of our steps."""
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig(boxed_match_priority=0)]
    return verify(*(parse(boxed(text), extraction_config=config) for text in (gold, answer)))


@settings(max_examples=150, deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_fast_path_never_changes_a_verdict(gold, answer):
    quick = latex.math_quickly(gold, response(boxed(answer)))
    if quick is not None:
        assert (quick.status == "correct") == latex._is_right(gold, answer), (gold, answer)
        assert (quick.status == "correct") == bare_math_verify(gold, answer), (gold, answer)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["$", "**", "{", r"\text{", r"\mathbf{", " ", r"\,"]), NUMBERS, NUMBERS)
def test_nor_with_clothes_on(dress, gold, answer):
    closing = {"$": "$", "**": "**"}.get(dress, "}" if dress.endswith("{") else "")
    dressed = dress + answer + closing
    quick = latex.math_quickly(gold, response(boxed(dressed)))
    if quick is not None:
        assert (quick.status == "correct") == latex._is_right(gold, dressed), (gold, dressed)


@settings(max_examples=60, deadline=None)
@given(NUMBERS)
def test_renderings_of_the_same_number_agree(text):
    value = plain_number(text)
    if value is None:
        return
    n, d = value.numerator, value.denominator
    renderings = [f"{n}/{d}", rf"\frac{{{n}}}{{{d}}}", rf"\dfrac{{{2 * n}}}{{{2 * d}}}"]
    for rendering in renderings:
        assert math(text, response(boxed(rendering))).status == "correct", (text, rendering)
        assert math(rendering, response(boxed(text))).status == "correct", (text, rendering)


@pytest.mark.parametrize("number", ["1e3", "1,000", r"\frac12", "5!", "1 2", "50%", "1/0", ""])
def test_what_the_fast_path_leaves_to_math_verify(number):
    assert plain_number(number) is None


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="\\boxed{}fracsqt^_1+-=(),. $%&", max_size=60))
def test_no_text_crashes_math(text):
    status = math(r"\frac{1}{2}", response(boxed(text) + text)).status
    assert status in ("correct", "incorrect", "no_answer", "timeout")


@pytest.mark.parametrize(
    ("gold", "text", "status"),
    [
        ("$69$,$84$", r"\boxed{84, 69}", "correct"),  # several values are a set
        ("$69$,$84$", r"\boxed{69}", "incorrect"),
        ("$(2,4)$", r"\boxed{(2,4)}", "correct"),  # a tuple is in order
        ("$(2,4)$", r"\boxed{(4,2)}", "incorrect"),
        (r"3 \text{ or } 5", r"\boxed{5, 3}", "correct"),
        (r"\pm 2", r"\boxed{2, -2}", "correct"),
        ("1,000", r"\boxed{1000}", "correct"),  # a comma between thousands separates nothing
        ("27.0", r"\boxed{27}", "correct"),
        ("50\\%", r"\boxed{0.5}", "correct"),
        ("1/3", r"\boxed{0.333}", "incorrect"),
        ("1/3", r"\boxed{0.3333333}", "correct"),  # six decimals
    ],
)
def test_several_values_and_roundings(gold, text, status):
    assert math(gold, response(text)).status == status


def test_verifiers_see_no_prompt():
    """A prompt that shows how to answer must not score: there is no way for it to reach a verifier."""
    assert set(Response.__dataclass_fields__) == {"text", "token_ids", "finish_reason"}


# Verifiers in files


def test_a_verifier_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def same(gold, response):\n    return gold == response.text\n")
    grades = grade([Question(f"{path}:same", "x", response(text)) for text in "xy"], SETTINGS)
    assert [one.reward for one in grades] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone.py:f", "there is no file gone.py"),
        ("{}/a.py:g", "has no function 'g'; it has f"),
        ("{}/b.py:f", "is not valid Python"),
        ("nope", "known are countdown, gsm8k"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_without_running_the_file(tmp_path, name, problem):
    (tmp_path / "a.py").write_text("raise SystemExit\ndef f(gold, response): pass\n")
    (tmp_path / "b.py").write_text("def f(:")
    assert problem in verifiers.problem_with(name.format(tmp_path))
    assert verifiers.problem_with(f"{tmp_path}/a.py:f") is None
