r"""What stands around a value: taken off, and nothing of the value with it."""

# ruff: noqa: RUF001 (full-width characters are what is tested)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astarpo.rewards.markup import closing, unwrap


@pytest.mark.parametrize(
    "text",
    [
        "13",
        " 13\n",
        "$13$",
        "$$13$$",
        r"\(13\)",
        r"\[ 13 \]",
        "{13}",
        r"\text{13}",
        r"\text {13}",
        r"\mathrm{13}",
        r"\textbf{13}",
        r"\mathbf{ 13 }",
        r"\boldsymbol{13}",
        r"\underline{13}",
        r"\color{red}{13}",
        r"{\color{red}13}",
        r"\textcolor{blue}{13}",
        "**13**",
        "*13*",
        "__13__",
        "_13_",
        "`13`",
        "***13***",
        "１３",
        "13.",
        "13。",
        "１３．",
        r"$\textbf{13}.$",
        r"**$13$**",
        r"\textbf{\textcolor{red}{$13$}}.",
        r"\,13",
        r"13\,",
        r"13~",
        r"\ 13\ ",
        r"13\\",
        r"\displaystyle 13",
        r"\bf 13",
        r"\boxed{13}",
        "1\u200b3",
        "$13.$",
        "**13.**",
        r"\quad 13 \quad",
    ],
)
def test_clothes_are_taken_off(text):
    assert unwrap(text) == "13"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"1{,}234", "1234"),
        (r"1\,234", "1234"),
        (r"1\!234", "1234"),
        (r"1,\!234,\!567", "1234567"),
        (r"1, \! 234", "1234"),
        ("1~234", "1234"),
        ("1 234 567", "1234567"),
        ("1\u202f234", "1234"),
        ("1\u00a0234.5", "1234.5"),
        (r"12\;345", "12345"),
        (r"-1\,234", "-1234"),
        (r"(1\,234, 5\,678)", "(1234, 5678)"),
        (r"\frac{1{,}234}{5}", r"\frac{1234}{5}"),
        ("－３", "-3"),
        ("\u22123", "-3"),
        ("\u20133", "-3"),
        ("(\u20143, \u20133)", "(-3, -3)"),
        ("x = \u20133", "x = -3"),
        ("（１，２）", "(1,2)"),
        (r"$\$25$", r"\$25"),
    ],
)
def test_spellings_of_a_value(text, value):
    assert unwrap(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "1 2",
        "1,2",
        "1,234",
        r"1\,2",
        r"12\,34",
        r"1\,2345",
        r"1\,23",
        r"1234\,567",
        r"0\,123",
        r"1{,}234{,}56",
        "1 234,5",
        r"(1,\,234)",
        "1, 234",
        r"1,~234",
        "1.234 567",
        "1 234 5",
        "1\u20133",
        "0.333...",
        "5!",
        r"\left.x\right.",
        r"\{1,2\}",
        "{1}{2}",
        r"\text{a}\text{b}",
        "*a*b*",
        "$a$ and $b$",
        "x_1",
        "2*3*4",
        r"\frac12",
        "$",
        "**",
        r"\text{}\$",
        "f(x)",
        "-3",
        "a-b",
        "50%",
    ],
)
def test_what_belongs_to_the_value_stays(text):
    assert unwrap(text) == text


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="$*_{}\\text!,~.12340 （）－\u2013", max_size=40))
def test_twice_is_once(text):
    assert unwrap(unwrap(text)) == unwrap(text)


def test_only_so_many_layers_come_off():
    nested = r"\text{" * 1000 + "1" + "}" * 1000
    assert unwrap(nested).startswith(r"\text{\text{")
    assert unwrap("$" + "1" * 20_000 + "$").startswith("$")


def test_closing():
    assert closing(r"{a\}{b}}c", 1) == 7
    assert closing("{a", 1) is None
