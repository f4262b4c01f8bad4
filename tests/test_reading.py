r"""The steps in front of math-verify: the one spelling, units, and kinds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astarpo.rewards.brackets import is_one_bracket, split
from astarpo.rewards.kinds import read
from astarpo.rewards.magnitude import too_large
from astarpo.rewards.names import name_of
from astarpo.rewards.parsing import parse
from astarpo.rewards.phrases import are_words, out_of_phrase
from astarpo.rewards.spelling import spell
from astarpo.rewards.units import Measured, differ, measured


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("4.5e33", r"(4.5\cdot 10^{33})"),
        ("1E+5", r"(1\cdot 10^{5})"),
        ("2e3x", "2e3x"),
        ("4.5 x 10^-3", r"4.5\times 10^{-3}"),
        ("pi/2", r"\pi/2"),
        ("x**2", "x^{2}"),
        ("x**(1/2)", "x^{1/2}"),
        ("e^-x", "e^{-x}"),
        (r"\sqrt(2)", r"\sqrt{2}"),
        ("sqrt(sqrt(x)+1)", r"\sqrt {\sqrt {x}+1}"),
        ("4\u221a2", r"4\sqrt2"),
        ("2\u00d73\u03c0", r"2\times 3\pi"),
        ("x\u00b2", "x^{2}"),
        ("\u00bd", r"\frac{1}{2}"),
        (r"1\frac12", r"(1+\frac{1}{2})"),
        ("1 1/4", r"(1+\frac{1}{4})"),
        ("-2 3/4", r"-(2+\frac{3}{4})"),
        ("4 10/3", "4 10/3"),  # no mixed number
        ("1/2 1/2", "1/2 1/2"),
        ("1 2", "1 2"),
        (r"0.1\overline{6}", r"\frac{15}{90}"),
        ("0.(3)", r"\frac{3}{9}"),
        (r"1-\mathrm{i}", "1-i"),
        (r"{1 \over 2}", r"\frac{1}{2}"),
        (r"a \over b", r"\frac{a}{b}"),
        (r"\frac{\text{1}}{\text{2}}", r"\frac{1}{2}"),
        (r"6 \div 3", "6 / 3"),
        ("2(3)(4)", r"2\cdot (3)\cdot (4)"),
        ("f(x)", "f(x)"),
        ("y''", "y_{pp}"),
        (r"\left[0,1\right)", "[0,1)"),
        (r"13~\mathrm{cm}", r"13 \text{cm}"),
        (r"5 \text{sin of pi}", r"5 \text{sin of pi}"),
        (r"x \leqslant 2", r"x \le  2"),
        ("x<=2", r"x\le 2"),
        ("5!=120", "5!=120"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"),
    ],
)
def test_the_one_spelling(text, spelled):
    assert spell(text).replace(" ", "") == spelled.replace(" ", "")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="\\frac{}()sqrt^_*e1.2 /+-xpi\u221a\u00b2$", max_size=40))
def test_no_text_stops_the_spelling(text):
    spell(text)
    read(text)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("13 cm", ("13", 0, "cm")),
        ("13cm", ("13", 0, "cm")),
        (r"13 \text{cm}^2", ("13", 0, "cm ^2")),
        ("13 manzanas", ("13", 0, "manzanas")),
        (r"2\pi\text{ inches}", (r"2\pi", 0, "inches")),
        (r"\$29.00", ("29.00", 0, "dollar")),
        ("30^\\circ", ("30", 0, "degree")),
        (r"20^\circ\text{C}", ("20", 0, "celsius")),
        ("13 million dollars", ("13", 6, "dollars")),
        ("13 dozen", None),
        (r"13 \text{ is wrong}", None),
        ("5t", ("5t", 0, "")),
        ("13 m", ("13 m", 0, "")),
        ("4 abc", ("4 abc", 0, "")),
        (r"\pi", (r"\pi", 0, "")),
    ],
)
def test_units_are_words_and_not_letters(text, taken):
    assert measured(text) == (None if taken is None else Measured(*taken))


def test_letters_are_units_where_they_may_be():
    assert measured("13 m", letters=True) == Measured("13", 0, "m")


@pytest.mark.parametrize(
    ("first", "second", "different"),
    [
        ("cm", "m", True),
        ("cm", "centimeters", False),
        ("square cm", "cm^2", False),
        ("cm^2", "cm", True),
        ("miles per hour", "mph", False),
        ("dollars", "cents", True),
        ("kilometres", "km", False),
        ("apples", "cm", False),  # nobody knows
        ("cm", "", False),
    ],
)
def test_when_units_differ(first, second, different):
    assert differ(first, second) is different


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("(0,1)", "tuple"),
        ("[0,1)", "tuple"),
        ("0<x<1", "tuple"),
        (r"x\ge 2", "tuple"),
        (r"x\in[0,1]", "tuple"),
        ("x+y<1", "relation"),
        ("1,2", "list"),
        (r"\{1,2\}", "list"),
        (r"\pm 2", "list"),
        ("(1,2),(3,4)", "list"),
        ("1,234", "value"),
        ("x=5", "equation"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "matrix"),
        (r"(-\infty,0)\cup(1,2)", "set"),
        (r"x\ne 3", "set"),
        ("2516_8", "base"),
        ("x_1", "value"),
        ("6:30 p.m.", "time"),
        ("2:3", "ratio"),
        (r"\frac12\approx 0.5", "approx"),
        (r"\text{east}", "words"),
        ("xy", "value"),
    ],
)
def test_kinds(answer, kind):
    assert read(answer).kind == kind


@pytest.mark.parametrize(
    ("left", "name"),
    [("x", "x"), ("f(x)", "f(x)"), ("m+n", "m+n"), ("AB", "AB"), ("x_1", "x_1"), ("2x", ""), ("x^2", ""), ("ry+x", "")],
)
def test_what_an_equation_gives_the_value_of(left, name):
    assert name_of(left) == name


def test_brackets():
    assert split("(1,2),[3,4)", ",") == ["(1,2)", "[3,4)"]
    assert split(r"\{1,2\}, 3", ",") == [r"\{1,2\}", "3"]
    assert is_one_bracket("((1)+2)") and not is_one_bracket("(1)+(2)")


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        ("Answer: 13", "13"),
        ("The final answer is 13", "13"),
        ("\u7b54\u6848\u662f13", "13"),
        ("Therefore $x>5$ is the solution.", "x>5"),
        ("\u4e0d\u662f13", "\u4e0d\u662f13"),  # is not 13
        ("13\u4e07", "13\u4e07"),  # 130,000
        ("not $x>5$", "not x>5"),
    ],
)
def test_out_of_a_phrase(answer, rest):
    assert out_of_phrase(answer) == rest


def test_words():
    assert are_words(r"\text{no solution}") and are_words("east")
    assert not are_words("xy") and not are_words("5 cm") and not are_words(r"\sin x")


@pytest.mark.parametrize(
    ("text", "large"),
    [
        ("2^{1024}", False),
        ("2006!", False),
        ("10^{10^{5}}", False),
        ("2^{3^{4^{5}}}", True),
        ("2^{20000000}", True),
        ("(10^{9})!", True),
        ("((9!)!)!", True),
        (r"\frac{1}{9^{9^{9}}}", True),
        ("(x+1)^{10^{9}}", True),
        (r"\prod_{k=1}^{10^{9}} k", True),
        (r"\sum_{n=1}^{\infty} \frac{1}{n^2}", False),
        (r"\sum_{k=1}^{n} k", False),
    ],
)
def test_what_is_too_large_to_be_evaluated(text, large):
    assert too_large(parse(text)) is large


def test_what_the_parser_would_make_of_it_is_not_asked():
    for text in ("1 2", r"4\frac{10}{3}", "2_3", r"\binom{10^9}{10^8}", "(" * 40 + "1" + ")" * 40):
        assert parse(text) is None, text
