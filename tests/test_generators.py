"""Generated sums: right by another route, repeatable, and every solution within its limits."""

import pytest

from astarpo.generators import chain_sums, solve_chain_sum

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
    terms = {
        row["problem"].count("+") + row["problem"].count("-") + 1 for row in chain_sums(**OPTIONS)
    }
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
