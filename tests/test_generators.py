"""Generated sums: right by another route, repeatable, and every solution within its limits."""

import ast
import json
from collections import Counter
from fractions import Fraction

import pytest

from astarpo.common.errors import InputError
from astarpo.common.seeds import unit_hash
from astarpo.data import datasets
from astarpo.data.generators import arithmetic, chain_sums, countdowns, multiples_above, solve_chain_sum
from astarpo.data.settings import DatasetSettings

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


MULTIPLES = {"count": 6000, "seed": 0, "factors": (2, 7, 13), "largest": 30, "span": 15}


def right_answers(factor, above, at_most):
    return {number for number in range(above + 1, at_most + 1) if number % factor == 0}


def test_multiples_above_draw_every_right_answer_equally_often():
    rows = list(multiples_above(**MULTIPLES))
    assert rows == list(multiples_above(**MULTIPLES)) != list(multiples_above(**{**MULTIPLES, "seed": 1}))
    assert Counter(row["level"] for row in rows) == {"2": 2000, "7": 2000, "13": 2000}
    drawn: dict[str, Counter[int]] = {}
    for row in rows:
        gold = json.loads(row["gold"])
        assert row["problem"] == f"a multiple of {gold['factor']} above {gold['above']}, at most {gold['at_most']}"
        assert row["level"] == str(gold["factor"]) and 0 <= gold["above"] <= 15
        assert gold["at_most"] == gold["above"] + 15
        drawn.setdefault(row["gold"], Counter())[int(row["worked_solution"][len("\\boxed{") : -1])] += 1
    assert len(drawn) == 3 * 16
    for text, counts in drawn.items():
        gold = json.loads(text)
        assert set(counts) == right_answers(**gold)
        expected = counts.total() / len(counts)
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_a_warm_start_set_keeps_several_solutions_of_one_problem_and_another_set_none():
    entry = {
        "source": {"kind": "multiple_above", "count": 6000, "largest": 30, "span": 15},
        "verifier": "multiple_above",
    }
    every, card = datasets.prepare(DatasetSettings(**entry, drop_duplicates=False), "d")
    assert len(every) == 6000 and not card["unreadable_golds"] and not card["differing_duplicates"]
    assert len({row["prompt_id"] for row in every}) == 6000
    solutions: dict[str, set[str]] = {}
    for row in every:
        solutions.setdefault(row["problem"], set()).add(row["worked_solution"])
    assert len(solutions["a multiple of 2 above 15, at most 30"]) == 8
    once, _ = datasets.prepare(DatasetSettings(**entry), "d")
    assert {row["problem"] for row in once} == set(solutions) and len(once) == len(solutions) == 5 * 16


KINDS = ("one-digit sum", "times table", "two-digit sum", "two-digit difference")
ARITHMETIC = {"count": 2000, "seed": 0, "kinds": KINDS, "leave_out": ()}


def test_arithmetic_is_right_and_has_its_kind_and_level():
    rows = list(arithmetic(**ARITHMETIC))
    assert rows == list(arithmetic(**ARITHMETIC)) != list(arithmetic(**{**ARITHMETIC, "seed": 1}))
    assert Counter(row["problem_kind"] for row in rows) == dict.fromkeys(KINDS, 500)
    bounds = {
        "one-digit sum": (0, 9),
        "times table": (1, 9),
        "two-digit sum": (10, 99),
        "two-digit difference": (10, 99),
    }
    signs = {"one-digit sum": "+", "times table": "*", "two-digit sum": "+", "two-digit difference": "-"}
    for row in rows:
        kind = row["problem_kind"]
        first, sign, second = row["problem"].removesuffix(" =").split(" ")
        assert bounds[kind][0] <= min(int(first), int(second)) <= max(int(first), int(second)) <= bounds[kind][1]
        assert sign == signs[kind] and int(row["gold"]) == eval(f"{first}{sign}{second}") >= 0
        assert row["worked_solution"] == f" {row['gold']}" and row["level"] == ("2" if "two" in kind else "1")
    for kind, (low, high) in bounds.items():
        numbers = {int(row["problem"].split(" ")[0]) for row in rows if row["problem_kind"] == kind}
        assert {low, high} <= numbers or kind == "two-digit difference"


def test_problems_of_the_template_are_not_asked_in_either_order():
    shown = ("3 + 6 = 9", "7 * 8 =", "23 + 45 = 68", "71 - 28 = 43")
    asked = {row["problem"] for row in arithmetic(**{**ARITHMETIC, "count": 20_000})}
    left = {row["problem"] for row in arithmetic(**{**ARITHMETIC, "count": 20_000, "leave_out": shown})}
    both = {"3 + 6 =", "6 + 3 =", "7 * 8 =", "8 * 7 =", "23 + 45 =", "45 + 23 =", "71 - 28 ="}
    assert len(asked & both) >= 4 and not left & both
    with pytest.raises(InputError, match="leave_out: '3 plus 6' is not a problem of this task"):
        list(arithmetic(**{**ARITHMETIC, "leave_out": ("3 plus 6",)}))
    all_sums = tuple(f"{a} + {b} =" for a in range(10) for b in range(10))
    with pytest.raises(InputError, match="leave_out: leaves no problem of kind 'one-digit sum'"):
        list(arithmetic(**{**ARITHMETIC, "kinds": KINDS[:1], "leave_out": all_sums}))


def test_a_problem_and_its_twin_are_in_the_same_hash_range():
    """A model that has learnt 3 + 6 knows 6 + 3: that is no held-out problem."""

    def numbers(hash_range):
        entry = {
            "source": {"kind": "arithmetic", "count": 4000},
            "verifier": "gsm8k_flexible",
            "hash_range": hash_range,
        }
        rows, _ = datasets.prepare(DatasetSettings(**entry), "d")
        assert {row["problem_kind"] for row in rows} == set(KINDS) and {row["level"] for row in rows} == {"1", "2"}
        parts = [row["problem"].split(" ") for row in rows]
        return {(sign, frozenset((first, second))) for first, sign, second, _ in parts}

    train, held_out = numbers([0.0, 0.8]), numbers([0.8, 1.0])
    assert train and held_out and not train & held_out
    assert unit_hash("3 + 6") != unit_hash("6 + 3")  # by their texts they would be apart
