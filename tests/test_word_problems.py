"""Generated word problems: right by another route, within their bounds, repeatable, and split by their numbers."""

import re
from collections import Counter, defaultdict
from fractions import Fraction
from typing import get_args

import pytest
from pydantic import ValidationError

from astarpo.common.seeds import unit_hash
from astarpo.data import datasets
from astarpo.data.settings import DatasetSettings, WordProblemKind, WordProblems
from astarpo.data.word_problems import STORIES, word_problems
from astarpo.rewards.numbers import gsm8k
from astarpo.rewards.verdicts import Response

KINDS = get_args(WordProblemKind)
OPTIONS = {"count": 4000, "seed": 0, "kinds": KINDS, "largest": 20}
# A phrase of each story, and its answer from the numbers in the order of the text.
TOLD = {
    "on the table. How many": ("sum, sum", lambda a, b, c: a + b + c),
    "finds": ("sum, difference", lambda a, b, c: a + b - c),
    "lost": ("difference, sum", lambda a, b, c: a - b + c),
    "together": ("product, sum", lambda a, b, c: a * b + c),
    "takes": ("product, difference", lambda a, b, c: a * b - c),
    "Every day": ("sum, product", lambda a, b, c: (a + b) * c),
    "had": ("quotient, sum", lambda a, b, c: Fraction(a, b) + c),
    "loses": ("quotient, difference", lambda a, b, c: Fraction(a, b) - c),
}


def numbers(row):
    return [int(number) for number in re.findall(r"\d+", row["problem"])]


def test_every_answer_is_that_of_the_story():
    rows = list(word_problems(**OPTIONS))
    assert Counter(row["problem_kind"] for row in rows) == dict.fromkeys(KINDS, 500)
    by_kind = {kind: (phrase, answer) for phrase, (kind, answer) in TOLD.items()}
    for row in rows:
        phrase, answer = by_kind[row["problem_kind"]]
        assert phrase in row["problem"] and row["gold"] == str(answer(*numbers(row)))
        assert int(row["gold"]) > 0 and row["level"] == str(len(row["gold"]))


def test_every_line_of_a_solution_is_right_and_the_last_is_the_answer():
    for row in word_problems(**OPTIONS):
        *lines, last = row["worked_solution"].split("\n")
        a, b, c = numbers(row)
        assert [re.findall(r"\d+", line)[:2] for line in lines] == [[str(a), str(b)], [lines[0].split()[-1], str(c)]]
        for line in lines:
            first, sign, second, equals, result = line.split(" ")
            found = Fraction(first) / int(second) if sign == "/" else eval(f"{first}{sign}{second}")
            assert equals == "=" and found == int(result)
        assert last == f"#### {row['gold']}" == f"#### {lines[-1].split()[-1]}"


def test_numbers_stay_within_their_bounds_and_reach_them():
    drawn = defaultdict(set)
    for row in word_problems(**OPTIONS):
        for place, number in zip("abc", numbers(row), strict=True):
            drawn[row["problem_kind"], place].add(number)
    assert min(map(min, drawn.values())) == 2
    assert drawn["sum, sum", "a"] == drawn["sum, sum", "c"] == set(range(2, 21))
    assert max(drawn["difference, sum", "a"]) == 20 and max(drawn["difference, sum", "b"]) == 18
    assert drawn["product, sum", "a"] == set(range(2, 10)) and drawn["sum, product", "c"] == set(range(2, 10))
    assert max(drawn["quotient, sum", "a"]) == 81 and max(drawn["quotient, difference", "c"]) == 8


def test_the_seed_decides():
    rows = list(word_problems(**OPTIONS))
    assert rows == list(word_problems(**OPTIONS)) != list(word_problems(**{**OPTIONS, "seed": 1}))
    some = {row["problem_kind"] for row in word_problems(**{**OPTIONS, "kinds": KINDS[2:4]})}
    assert some == set(KINDS[2:4])


def test_the_same_numbers_of_a_story_are_never_on_two_sides():
    source = {"kind": "word_problem", "count": 3000, "largest": 4, "kinds": ["sum, sum"]}
    sides = []
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        rows, _ = datasets.prepare(DatasetSettings(source=source, verifier="gsm8k", hash_range=(low, high)), "d")
        sides.append({tuple(numbers(row)) for row in rows})
        assert all(low <= unit_hash(f"sum, sum: {a} {b} {c}") < high for a, b, c in sides[-1])
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 3**3


def test_the_verifier_of_gsm8k_reads_the_solutions():
    for row in word_problems(**{**OPTIONS, "count": 16}):
        assert gsm8k(row["gold"], Response(row["worked_solution"], [], "stop")).status == "correct"


def test_settings_know_every_story_and_refuse_what_has_no_problems():
    assert set(KINDS) == set(STORIES) and WordProblems(kind="word_problem", count=1).kinds == KINDS
    with pytest.raises(ValidationError, match="largest"):
        WordProblems(kind="word_problem", count=1, largest=3)
