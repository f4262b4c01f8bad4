"""Verifiers of numbers and of countdown: how models spell an answer, and what only looks like one."""

# ruff: noqa: RUF001 (dashes and signs of Unicode are what is tested)

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astarpo.rewards.countdown import countdown
from astarpo.rewards.expressions import NotAnExpression, evaluate
from astarpo.rewards.numbers import gsm8k, gsm8k_flexible, integer
from astarpo.rewards.numerals import read_number
from astarpo.rewards.run_on import AFTER_HASHES, ANYWHERE, without_run_on
from astarpo.rewards.verdicts import Response


def status(verifier, gold, text):
    return verifier(gold, Response(text, [], "stop")).status


# integer


@pytest.mark.parametrize(
    "answer",
    [
        "204",
        "204.0",
        "204.00",
        "0204",
        "+204",
        "204.",
        "$204$",
        r"\text{204}",
        r"\textbf{204}",
        r"\mathbf{204}",
        r"\,204",
        r"204\,",
        r"204^\circ",
        r"204^{\circ}",
        "204°",
        r"\$204",
        "204 €",
        "**204**",
        "(204)",
        "２０４",
        r"204\text{ cm}",
        r"204 \text{ square feet}",
        r"204\ \mathrm{cm}^2",
        "m+n=204",
        "p + q + r = 204",
        "N=204",
        r"\angle ABC = 204^\circ",
        r"|AB|=204",
        r"x_1 = 204.0",
        r"100+104=204",
        r"a+b=100+104=204",
        "AB^2 = 204",
        r"\text{Answer: }204",
        "Answer: 204",
        "$m+n=204$",
        r"\boxed{204}",
        r"\textbf{(204)}",
        r"2.04\times10^2",
    ],
)
def test_an_integer_in_the_usual_clothes(answer):
    assert status(integer, "204", rf"so \boxed{{{answer}}}") == "correct"


@pytest.mark.parametrize(
    "answer",
    [
        "2,04",
        "20,4",
        "2,0,4",
        "2, 04",
        "20 4",
        r"20\,4",
        "204,",
        "204.5",
        "204%",
        r"204\%",
        "204!",
        "2040",
        "-204",
        "--204",
        "204k",
        "204x",
        "204i",
        "204 x",
        r"204\text{i}",
        r"204\text{ million}",
        r"204\text{ or }205",
        r"204\text{0}",
        r"204\text{ is wrong}",
        "204 or 205",
        "x=203, y=204",
        "203 or x=204",
        r"203\quad x=204",
        r"203\\x=204",
        "203=204",
        "2x3=204",
        r"x\neq204",
        "x!=204",
        "x>=204",
        r"x\not=204",
        "100+105=204",
        "a+b=203=204",
        "=204",
        "204=",
        "204-1",
        "20{4}",
        "{20}{4}",
        r"\{204\}",
        "two hundred four",
        "",
        "[204, 205]",
        "(204, 205)",
        "204_5",
        "204^2",
        r"204\pi",
    ],
)
def test_what_is_no_integer_or_another(answer):
    assert status(integer, "204", rf"so \boxed{{{answer}}}") == "incorrect"


@pytest.mark.parametrize("answer", ["1234", "1,234", r"1{,}234", r"1,\!234", r"1\,234", "1 234", "1,234.0", "m=1,234"])
def test_thousands_of_an_integer(answer):
    assert status(integer, "1234", rf"\boxed{{{answer}}}") == "correct"
    assert status(integer, answer, r"\boxed{1234}") == "correct"


@pytest.mark.parametrize(
    "answer",
    [
        "12,34",
        "1,2345",
        "123,4",
        "1,23,4",
        "0,123",
        "1.234",
        "1,234,5",
        r"12{,}34",
        "1,2,3,4",
    ],
)
def test_commas_that_are_not_between_thousands(answer):
    wanted = answer.replace(",", "").replace("{}", "").replace(".", "")
    assert status(integer, wanted, rf"\boxed{{{answer}}}") == "incorrect"
    assert status(gsm8k, wanted, f"#### {answer}") == "incorrect"
    with pytest.raises(ValueError, match="not an integer"):
        status(integer, answer, r"\boxed{1}")


@pytest.mark.parametrize("gold", ["seven", "2,5", "25.5", "", "25 or 26", "1/2", "nan"])
def test_golds_that_are_no_integer(gold):
    with pytest.raises(ValueError, match="the gold answer is not an integer"):
        status(integer, gold, r"\boxed{25}")


# gsm8k


@pytest.mark.parametrize(
    "line",
    [
        "29",
        "29.",
        "29.00",
        "$29.00",
        r"\$29",
        "$29$",
        r"\(29\)",
        "$ 29",
        "29$",
        "29 $",
        "29 €",
        "€29",
        "£29",
        "29 USD",
        "US$29",
        "USD 29",
        "+29",
        "**29**",
        "*29*",
        "**29.**",
        "**$29**",
        "`29`",
        r"\boxed{29}",
        r"$\boxed{29}$",
        r"\text{29}",
        r"\textbf{29}",
        "Answer: 29",
        "The answer is 29.",
        "The final answer is: 29",
        "**Answer:** 29",
        "**Answer: 29**",
        "Answer: **29**",
        r"Answer: \boxed{29}",
        "Answer = 29",
        "So the answer is 29 eggs.",
        "29!",
        "29 eggs!",
        "**29!**",
        "29!!",
        "29 eggs",
        "29 eggs per day",
        "29 miles per hour",
        "29 miles/hour",
        "29 square feet",
        "29 m^2",
        "29 m²",
        "29 kg",
        "29 m",
        "**29** eggs",
        "$29$ eggs",
        r"\boxed{29} eggs",
        r"29\text{ eggs}",
        "29 eggs left over",
        "29 (eggs)",
        "(29)",
        "29%",
        r"29\%",
        "29 percent",
        "29 %",
        "29°",
        "29 °C",
        r"29^\circ",
        "029",
        "29 ####",
        "29####",
        "2.9e1",
        r"2.9\times10^1",
        "２９",
        "29 pairs of shoes",
        "29 cents",
        "29 more apples",
        "29 times",
    ],
)
def test_what_models_put_behind_the_hashes(line):
    assert status(gsm8k, "29", f"20+9=29\n#### {line}") == "correct"


@pytest.mark.parametrize(
    "line",
    [
        "29 is wrong",
        "29 wrong",
        "29 was my guess",
        "29 isn't right",
        "29? no",
        "29?",
        "29 and a half",
        "29 and 30",
        "29 or 30",
        "29 or more",
        "29, 30",
        "29-30",
        "29–30",
        "29 to thirty",
        "29 million",
        "29 thousand",
        "29 hundred eggs",
        "29 dozen",
        "29 dozens",
        "29 k",
        "29k",
        "29M",
        "29 M",
        "29 billion dollars",
        "29 lakh",
        "29 万",
        "29 percent of 100",
        "29% of the eggs",
        "29 minus one",
        "29 plus two",
        "29 squared",
        "29²",
        "29^2",
        "29x",
        "29 x",
        "29 y",
        "29i",
        "29 halves",
        "29 tenths",
        "29/2",
        "29 / 2",
        "29 - 1",
        "29*2",
        "29=30",
        "29:30",
        "29.5",
        "29 eggs, 30 hens",
        "29 eggs and 3 hens",
        "29 hours 30 minutes",
        "not 29",
        "at least 29",
        "29 at most",
        "29 approximately",
        "about 29",
        "29 (wrong)",
        "29 (not)",
        "29 ½",
        "29½",
        "2 9",
        "2,9",
        "290",
        "-29",
        "—",
        "twenty-nine",
        "29 large brown eggs from happy hens",
        "$29$30",
        r"$29!$",
        r"\boxed{29!}",
        r"29\text{0}",
        r"29 \times 2",
        "29 0",
        "29 maybe",
        "29 unless mistaken",
        "29 but wait",
        "29 below",
        "29 est faux",
        "29 zero",
        "29e1",
        "29 score",
    ],
)
def test_what_only_begins_like_the_answer(line):
    assert status(gsm8k, "29", f"20+9=29\n#### {line}") == "incorrect"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("2 dozen", "24"),
        ("3 hundred", "300"),
        ("1.5 million", "1500000"),
        ("2 thousand dollars", "2000"),
        ("$4 billion", "4,000,000,000"),
        ("1.5e3", "1500"),
    ],
)
def test_multipliers_multiply(line, value):
    assert status(gsm8k, value, f"#### {line}") == "correct"
    assert status(gsm8k_flexible, value, f"so {line}") == "correct"


@pytest.mark.parametrize(
    "line",
    [
        "-3",
        "−3",
        "–3",
        "- 3",
        "-$3",
        "$-3",
        "**-3**",
        "$-3$",
        "-3.0",
        "minus 3",
        "negative 3",
        "(-3)",
        "－３",
    ],
)
def test_negative_numbers(line):
    assert status(gsm8k, "-3", f"#### {line}") == "correct"
    assert status(gsm8k, "3", f"#### {line}") == "incorrect"


@pytest.mark.parametrize("box", ["-3", "−3", "–3", "(-3)", "-3.0", "x=-3", r"-3^\circ", r"\text{-3}"])
def test_negative_integers(box):
    assert status(integer, "-3", rf"\boxed{{{box}}}") == "correct"
    assert status(integer, "3", rf"\boxed{{{box}}}") == "incorrect"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### 42\n\nLet me check: 40+2=42.", "correct"),
        ("#### 42\nSo 7 is wrong.", "correct"),
        ("#### 42\n####", "correct"),  # an empty one undoes nothing
        ("#### 42\n####\n", "correct"),
        ("#### 42\n#### \nLet me check.", "correct"),
        ("#### 42 ####\n7", "correct"),
        ("####\n42", "correct"),
        ("####\n\n42 eggs\n7", "correct"),
        ("#### Answer\n42", "correct"),
        ("#### Final answer:\n\n42", "correct"),
        ("#### 42\n#### Answer", "correct"),
        ("##### 42", "correct"),
        ("#### 7\n#### 42", "correct"),  # the last one counts
        ("#### 42\n#### 7", "incorrect"),
        ("#### 42\n#### 7\n####", "incorrect"),
        ("#### 42\n####\n7", "incorrect"),
        ("#### 42 #### 7", "incorrect"),
        ("#### 42\n#### so 42 it is", "incorrect"),
        (" ".join(f"#### {n}" for n in range(100)), "incorrect"),
        ("\n".join(f"#### {n}" for n in range(100)), "incorrect"),
        ("42 ####", "no_answer"),
        ("42 ####\n42", "no_answer"),
        ("####\n####", "no_answer"),
        ("####\nLet me see. 42", "no_answer"),
        ("#### Answer", "incorrect"),
    ],
)
def test_which_of_several_hashes_counts(text, expected):
    assert status(gsm8k, "42", text) == expected


@pytest.mark.parametrize("gold", ["12,34", "2,5", "forty-two", "42 or 43", "42 is wrong", "1/2", ""])
def test_golds_that_are_no_number(gold):
    for verifier in (gsm8k, gsm8k_flexible):
        with pytest.raises(ValueError, match="the gold answer is not a number"):
            status(verifier, gold, "#### 42")


# Run-on


NEXT = [
    "\nQuestion: what is 3+4?\n",
    "\n\nQ: what is 3+4?\n",
    "\nProblem: 3+4\n",
    "\nProblem 2: 3+4\n",
    "\n**Question:** 3+4\n",
    "\n### Question: 3+4\n",
    "\n## Problem 3\n3+4\n",
    "\n\nHuman: 3+4\n",
    "\nUser: 3+4\n",
    "<|endoftext|>3+4\n",
    "<|im_end|>\n",
    "</s> ",
    "<|eot_id|>",
    "<|im_end|>\n<|im_start|>user\n3+4\n",
    "\n[INST] 3+4 [/INST]\n",
    "\nExample 4: 3+4\n",
]


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize(
    ("verifier", "spell"),
    [
        (gsm8k, "#### {}"),
        (gsm8k_flexible, "The answer is {}."),
        (gsm8k_flexible, "#### {}"),
        (integer, r"\boxed{{{}}}"),
    ],
)
def test_a_further_question_is_no_part_of_the_response(verifier, spell, following):
    text = f"6*7=42\n{spell.format(42)}{following}3+4=7\n{spell.format(7)}"
    assert status(verifier, "42", text) == "correct"
    assert status(verifier, "7", text) == "incorrect"


def test_a_further_question_behind_an_expression():
    text = "\\boxed{2*3}\nQuestion: use 3 and 4\n\\boxed{3+4}"
    assert status(countdown, '{"numbers": [2, 3], "target": 6}', text) == "correct"
    assert status(countdown, '{"numbers": [3, 4], "target": 7}', text) == "incorrect"


@pytest.mark.parametrize(
    "text",
    [
        "Question: what is 6*7?\n#### 42",
        "Let me say it again.\nQuestion: what is 6*7?\nAnswer: 6*7=42\n#### 42",
        "#### 42\nquestionable: 7",
        "#### 42\nI have a question: is it right?",
        "#### 42\n\nNo problem at all: fine",
    ],
)
def test_a_question_before_any_answer_or_within_a_line_ends_nothing(text):
    assert without_run_on(text, AFTER_HASHES) == text
    assert status(gsm8k, "42", text) == "correct"


def test_without_an_answer_only_the_end_token_ends_it():
    assert without_run_on("a\nQuestion: b", ANYWHERE) == "a\nQuestion: b"
    assert without_run_on("a</s>\nQuestion: b", ANYWHERE) == "a"


# gsm8k_flexible


@pytest.mark.parametrize(
    ("gold", "text", "expected"),
    [
        ("5", "that is .5", "incorrect"),
        ("0.5", "that is .5", "correct"),
        ("0.5", "it costs $.50", "correct"),
        ("-0.5", "so -.5", "correct"),
        ("73", "Final Answer: **73**", "correct"),
        ("73", "Final Answer: __73__.", "correct"),
        ("73", r"so \boxed{73}.", "correct"),
        ("1234", r"so \boxed{1{,}234}", "correct"),
        ("1234", r"so $1,\!234$", "correct"),
        ("-3", "it fell from 2 to –3", "correct"),
        ("-3", "so x = - 3", "correct"),
        ("3", "so x = - 3", "incorrect"),
        ("3", "8 - 5 - 3", "correct"),
        ("4", "so 3/4", "incorrect"),
        ("0.75", "so 3/4", "correct"),
        ("-0.75", "so -3/4", "correct"),
        ("0.75", "so -3/4", "incorrect"),
        ("4", r"so \frac{3}{4}", "incorrect"),
        ("0.75", r"so $\frac{3}{4}$", "correct"),
        ("0", "3/0", "incorrect"),
        ("12", "24/2 = 12", "correct"),
        ("42", "so 42 million", "incorrect"),
        ("42", "**42** million", "incorrect"),
        ("42", "42 and a half", "incorrect"),
        ("42", "42½", "incorrect"),
        ("42", "42 eggs and a hen", "correct"),
        ("42", "4.2e1", "correct"),
        ("29", "It costs $29.00.", "correct"),
        ("1234567", "$1,234,567.00", "correct"),
    ],
)
def test_the_last_number(gold, text, expected):
    assert status(gsm8k_flexible, gold, text) == expected


# Reading


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(
        [
            "{}",
            "{:,}",
            "${}$",
            "{:,}.00",
            "**{}** eggs",
            r"\boxed{{{}}}",
        ]
    ),
)
def test_a_number_is_read_as_it_was_written(number, spelling):
    assert read_number(spelling.format(number)) == number


@given(st.text(alphabet="12.,$*{}\\text!() -%=e", max_size=40))
def test_no_answer_crashes_a_verifier_of_numbers(text):
    for verifier, response in (
        (integer, rf"\boxed{{{text}}}"),
        (gsm8k, f"#### {text}"),
        (gsm8k_flexible, text),
    ):
        assert status(verifier, "12", response) in ("correct", "incorrect", "no_answer")


@pytest.mark.parametrize(
    "text",
    [
        "####" * 100_000,
        "####\n" * 20_000,
        "#### 1\n" * 20_000,
        "answer is " * 20_000,
        "#### 5" + "\nQuestion" * 20_000,
        r"\boxed{5" + " " * 2900 + "x}",
        r"\boxed{" + "x=" * 1400 + "}",
        "#### answer" + " " * 2900 + "x",
        "- " * 50_000,
        r"\boxed{" + "(" * 400 + "1" + ")" * 400 + "}",
        "3/ " * 50_000,
        r"\frac{" * 10_000,
        "1," * 50_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_cost_no_more_than_their_length(text):
    """Quadratic reading of any of these takes minutes."""
    for verifier in (integer, gsm8k, gsm8k_flexible):
        assert status(verifier, "5", text) in ("correct", "incorrect", "no_answer")


# countdown


def solves(numbers, target, box):
    gold = json.dumps({"numbers": numbers, "target": target, "solution": ""})
    return status(countdown, gold, rf"so \boxed{{{box}}}")


@pytest.mark.parametrize(
    "box",
    [
        "2*3+8",
        r"2\times3+8",
        r"2\,\times\,3+8",
        r"2\cdot 3 + 8",
        "2·3+8",
        "2×3+8",
        "2⋅3+8",
        r"2\ast3+8",
        "2x3+8",
        "(2)(3)+8",
        "2(3)+8",
        "[2*3]+8",
        "8+[(2)*(3)]",
        r"\left(2\cdot3\right)+8",
        r"\left[2*3\right]+8",
        "{2*3}+8",
        r"2{\times}3+8",
        "8−(−2)*3",
        "8--2*3",
        "14=2*3+8",
        "2*3+8=14",
        "2*3+8=14=14",
        "2*3+8=6+8=14",
        "$2*3+8$",
        "$14=2*3+8$",
        r"\text{2*3+8}",
        "**2*3+8**",
        "2*3+8.",
        "2*3+8 = 14.0",
        "2.0*3+8",
        r"2 \; \cdot \; 3 + 8",
        "2*3+8=",
        r"\big(2*3\big)+8",
        "２×３＋８",
        "2*3+8\\\\",
        r"2\cdot{3}+8",
        "2 * 3 + 8",
    ],
)
def test_countdown_as_models_write_it(box):
    assert solves([2, 3, 8], 14, box) == "correct"


@pytest.mark.parametrize(
    "box",
    [
        "14",
        "14=14",
        "14=",
        "2*3+8=15",
        "15=2*3+8",
        "2*3=14",
        "14=2*3+8+0",
        "2*3+8*1",
        "2*3+8=14+0*0=15",
        "2*3+8=x",
        "x=2*3+8",
        "6+8",
        "6+8=14",
        "23-9",
        "2 3+8",
        r"2\,3+8",
        "{2}{3}+8",
        "2{3}+8",
        "2**3+8",
        "2^3+8",
        "2*3+8!",
        "2*3+(8",
        "2*3)+8",
        "(2*3]+8",
        "2*3+8, 2*3+8",
        r"2*3+8 \text{ or } 7",
        "2*3+8=14=2",
        "++2*3+8",
        r"2*3+8\,3",
        "=",
        "",
    ],
)
def test_what_is_no_solution(box):
    assert solves([2, 3, 8], 14, box) == "incorrect"


@pytest.mark.parametrize(
    ("numbers", "target", "box", "expected"),
    [
        ([6, 3], 2, r"\frac{6}{3}", "correct"),
        ([6, 3], 2, r"\dfrac{6}{3}", "correct"),
        ([6, 3], 2, r"\tfrac63", "correct"),
        ([6, 3], 2, r"\frac6{3}", "correct"),
        ([6, 3], 2, r"\frac{6}3", "correct"),
        ([6, 3], 2, "6÷3", "correct"),
        ([6, 3], 2, r"6\div3", "correct"),
        ([6, 3], 2, "6⁄3", "correct"),
        ([6, 3, 4], 8, r"\frac{6}{3} \cdot 4", "correct"),
        ([6, 3, 4], 8, r"4\cdot\frac{6}{3}", "correct"),
        ([6, 3, 4, 1], 3, r"\frac{\frac{6}{3}+4}{1} - 3", "incorrect"),
        ([6, 3, 4], 3, r"\frac{\frac{6}{3}+4}{2}", "incorrect"),
        ([6, 2, 4], 1, r"\frac{2+4}{6}", "correct"),
        ([63, 3], 21, r"\frac63{3}", "incorrect"),  # 6/3 beside a 3
        ([6, 3, 4], 6, r"4\frac{6}{3}", "incorrect"),  # a mixed number, or a product
        ([6, 3, 4], 8, r"\frac{6}{3}(4)", "incorrect"),
        ([6, 2, 3], 9, "6/2(3)", "incorrect"),  # read in two ways
        ([6, 2, 3], 1, "6/2(3)", "incorrect"),
        ([6, 2, 3], 9, "(6/2)(3)", "correct"),
        ([6, 0], 1, r"\frac{6}{0}", "incorrect"),
        ([1, 2], 12, "12", "incorrect"),
        ([1, 2], 12, r"1\,2", "incorrect"),
        ([1, 2], 12, "{1}{2}", "incorrect"),
        ([1, 2], 12, "1\u200b2", "incorrect"),
        ([12], 12, "12", "correct"),
        ([2, 2], 4, "2*2", "correct"),
        ([2, 2], 4, "2+2", "correct"),
        ([2], 4, "2*2", "incorrect"),
        ([2, 2], 2, "2", "incorrect"),
        ([1, 234], 235, "1+234", "correct"),
        ([1, 234], 1234, "1 234", "incorrect"),
    ],
)
def test_each_number_once_and_never_two_as_one(numbers, target, box, expected):
    assert solves(numbers, target, box) == expected


def test_expressions_are_exact_and_tell_their_numbers():
    assert evaluate(r"\frac{1}{3}\cdot 3 - [2](4)") == (-7, [1, 3, 3, 2, 4])
    with pytest.raises(NotAnExpression, match="nested deeper"):
        evaluate(r"\frac{" * 60 + "1" + "}{1}" * 60)
