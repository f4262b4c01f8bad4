r"""Which answers say what the gold answer says: a few of each kind, right ones beside wrong ones that are close."""

from __future__ import annotations

import pytest

from astarpo.rewards.latex import math
from astarpo.rewards.verdicts import Response


def is_right(gold: str, answer: str) -> bool:
    return math(gold, Response(rf"\boxed{{{answer}}}", [0], "stop")).status == "correct"


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("(1,2)", "(1,2]", False),
        ("[1,2]", "(1,2)", False),
        ("(1,2,3)", "(1,2)", False),
        ("(1,2)", "(1,2,3)", False),
        ("(1,2)", r"\left(1,\,2\right)", True),
        ("[0,1)", r"0\le x<1", True),
        ("(0,1)", r"0\le x<1", False),
        (r"(-\infty,3)", "x<3", True),
        (r"(-\infty,3)", "x>3", False),
        (r"(3,\infty)", "3<x", True),
        (r"(3,\infty)", "3>x", False),
        (r"x\le 3", r"3\ge x", True),
        ("0<x<1", "0<y<1", False),
        ("5", "[5]", False),
        ("5", "(5)", True),
    ],
)
def test_tuples_and_intervals(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"x, y", "y, x", True),
        (r"2\sqrt{2}, 3, 3", r"2\sqrt{2}, \sqrt{8}, 3", False),  # one of the two 3s is missing
        (r"3, \sqrt{8}", r"\sqrt{8}, 3", True),
        ("100, 200", "100,200", True),
        ("100200", "100, 200", False),
        (r"\pm 2", "2, -2", True),
        (r"\pm 2", "2", False),
        (r"1\pm\sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}", True),
        (r"1\pm\sqrt{2}", r"1+\sqrt{2}", False),
        ("1234", "1,234", True),
        ("123", "1,23", False),
        (r"\{1,2\}", "(1,2)", False),
    ],
)
def test_several_values(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("x=5", "5", True),
        ("x=5", "y=5", False),
        ("x=5", "x=6", False),
        ("x+y=5", "5", False),  # a line
        ("25", "m+n=25", True),
        ("5", "2+3=5", True),
        ("6", "2+3=6", False),
        ("x+y=5", "2x+2y=10", True),
        ("x+y=5", "x^2+xy=5x", False),
        ("x^2+xy=5x", "x+y=5", False),
        ("2:3", "4:6", True),
        ("2:3", "3:2", False),
        ("2:3", r"\frac{2}{3}", True),
        ("2:3", r"\frac{3}{2}", False),
    ],
)
def test_equations_and_ratios(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("6:30 p.m.", r"6:30 \text{ PM}", True),
        ("6:30 p.m.", "6:30 a.m.", False),
        ("6 p.m.", "6:00 p.m.", True),
        ("13", r"\sqrt{169}", True),  # no hour
        ("2516_8", r"2516_{8}", True),
        ("2516_8", "2516_9", False),
        ("-2516_8", "2516_8", False),
        ("12:00 p.m.", "12:00 PM", True),
        ("12:00 p.m.", "12:00 a.m.", False),
    ],
)
def test_times_of_day_and_bases(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\frac{1}{2^{98}}", "0.0", False),
        ("0.00000016", "0.00000017", False),
        ("333333.3", "333333.4", False),
        ("0.0001001", "0.0001003", False),  # equal to six decimals
        (r"\frac{1}{3}", "0.3333333", True),
        (r"\frac{1}{3}", "0.33", False),
        (r"\frac{1}{3}", r"\frac{33333333}{100000000}", False),  # exact, and another number
        (r"-\frac{1}{3}", r"\frac{1}{3}", False),
        (r"\sqrt{2}", "1.4142136", True),
        (r"\sqrt{2}", "1.4143", False),
        (r"\sqrt{x^2}", "|x|", True),
        (r"\sqrt{x^2}", "x", False),
        ("1.6e-19", r"1.6\times 10^{-19}", True),
        ("1.6e-19", r"1.6\times 10^{19}", False),
        (r"\frac{1}{2^{98}}", r"\frac{1}{2^{99}}", False),
        (r"10^{-30}\sqrt{2}", r"10^{-30}\sqrt{3}", False),
    ],
)
def test_roundings_and_sizes(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"13 \text{ cm}", "13", True),
        ("13", r"13 \text{ cm}", True),
        (r"13 \text{ cm}", r"13 \text{ m}", False),
        (r"13 \text{ m}", "13 m", True),
        ("13", "13m", False),
        ("13000000", r"13 \text{ million}", True),
        ("13", r"13 \text{ million}", False),
        (r"\sqrt{2}", r"\sqrt{2} \text{ million}", False),
        (r"13 \text{ million}", "13000000", True),
        (r"13 \text{ million}", r"13 \text{ million}.", True),
        (r"50\%", "0.5", True),
        (r"50\%", "5", False),
        (r"50\%", "50", True),
        ("0.5", r"50\%", True),
        ("0.5", r"0.5\%", False),
        ("0.5", r"0.005\%", False),
        ("28", r"28\%", True),
        ("1", r"100\%", True),
        ("1", r"1\%", False),
    ],
)
def test_units_and_percentages(gold, answer, right):
    assert is_right(gold, answer) is right


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\frac{5}{4}", r"1\frac{1}{4}", True),
        (r"\frac{3}{4}", r"1\frac{1}{4}", False),
        (r"\frac{22}{3}", r"4\frac{10}{3}", False),
        (r"\frac{1}{6}", r"0.1\overline{6}", True),
        (r"\frac{16}{100}", r"0.1\overline{6}", False),
    ],
)
def test_mixed_numbers_and_repeating_decimals(gold, answer, right):
    assert is_right(gold, answer) is right
