"""Generated sums: right by another route, repeatable, and every solution within its limits."""

import ast
import json
from fractions import Fraction

import pytest

from astarpo.data.generators import chain_sums, countdowns, solve_chain_sum

OPTIONS = {
    "count": 200,
    "seed": 0,
    "min_terms": 2,
    "max_terms": 4,
    "min_digits": 1,
    "max_digits": 2,
}


def test_gold_and_worked_solution_agree_with_arithmetic():
    for row in chain_sums(**OPTIONS):
        total = sum(int(term) for term in row["problem"].replace("-", "+-").split("+"))
        assert row["gold"] == str(total)
        assert row["worked_solution"].endswith(f"\\boxed{{{total}}}")
        for line in row["worked_solution"].split("\n")[:-1]:
            left, right = line.split("=")
            assert sum(int(t) for t in left.replace("-", "+-").split("+") if t) == int(right)


def test_the_seed_decides():
    assert list(chain_sums(**OPTIONS)) == list(chain_sums(**OPTIONS))
    assert list(chain_sums(**OPTIONS)) != list(chain_sums(**{**OPTIONS, "seed": 1}))


def test_terms_stay_within_bounds():
    terms = {row["problem"].count("+") + row["problem"].count("-") + 1 for row in chain_sums(**OPTIONS)}
    assert terms == {2, 3, 4}


@pytest.mark.parametrize(
    ("problem", "lines"),
    [
        ("3+9-4", ["3+9=12", "12-4=8", r"\boxed{8}"]),
        ("1-5-2", ["1-5=-4", "-4-2=-6", r"\boxed{-6}"]),
        ("10+20", ["10+20=30", r"\boxed{30}"]),
    ],
)
def test_solution_by_hand(problem, lines):
    assert solve_chain_sum(problem).split("\n") == lines


@pytest.mark.parametrize("problem", ["", "7", "1*2", "1 + 2", "1+"])
def test_what_is_no_sum_is_refused(problem):
    with pytest.raises(ValueError, match="not a chain"):
        solve_chain_sum(problem)


def value(node):
    """Exact value of an expression of integers, read by Python's own parser."""
    match node:
        case ast.Expression(body):
            return value(body)
        case ast.Constant(int(number)):
            return Fraction(number)
        case ast.UnaryOp(ast.USub(), operand):
            return -value(operand)
        case ast.BinOp(left, ast.Add(), right):
            return value(left) + value(right)
        case ast.BinOp(left, ast.Sub(), right):
            return value(left) - value(right)
        case ast.BinOp(left, ast.Mult(), right):
            return value(left) * value(right)
        case ast.BinOp(left, ast.Div(), right):
            return value(left) / value(right)
    raise AssertionError(ast.dump(node))


def test_countdowns_have_a_solution_that_uses_every_number_once():
    options = {
        "count": 100,
        "seed": 3,
        "min_numbers": 3,
        "max_numbers": 4,
        "max_value": 20,
        "max_target": 30,
    }
    rows = list(countdowns(**options))
    assert rows == list(countdowns(**options)) != list(countdowns(**{**options, "seed": 4}))
    for row in rows:
        gold = json.loads(row["gold"])
        tree = ast.parse(gold["solution"], mode="eval")
        assert value(tree) == gold["target"] <= 30
        used = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert sorted(used) == sorted(gold["numbers"]) and max(used) <= 20
        assert row["worked_solution"].endswith(f"\\boxed{{{gold['solution']}}}")
        assert f"Make {gold['target']} from {gold['numbers'][0]}, " in row["problem"]
