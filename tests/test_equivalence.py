"""Which answers mean the same: by text, by being right, by the verifier; and how that makes them vote."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from astarpo.rewards.equivalence import Problem, answer_classes


def fractions_are_equal(asked):
    def read(text):
        try:
            return Fraction(text)
        except (ValueError, ZeroDivisionError):
            return None

    return [read(gold) is not None and read(gold) == read(answer) for _, gold, answer in asked]


def classes(*answers, right=()):
    problem = Problem("any", answers, [place in right for place in range(len(answers))])
    return answer_classes([problem], fractions_are_equal)[0]


def test_other_spellings_of_one_number_are_one_class():
    assert classes("1/2", "3", "0.5", "2/4", "3.0") == [0, 1, 0, 0, 1]


def test_none_has_no_class():
    assert classes(None, "3", "", "3") == [None, 1, None, 1]


def test_all_right_answers_are_one_class_without_asking():
    assert classes("half", "1/2", "x", right=(0, 1)) == [0, 0, 2]


def test_an_answer_that_was_right_and_then_cut_stays_in_its_class():
    assert classes("7", "7", "8", right=(0,)) == [0, 0, 2]


def test_what_cannot_be_read_equals_only_its_own_text():
    assert classes("x", "y", " x ", "1") == [0, 1, 0, 3]


def test_problems_are_judged_apart():
    problems = [Problem("any", texts, [False] * 2) for texts in (("1", "2"), ("1", "1.0"))]
    assert answer_classes(problems, fractions_are_equal) == [[0, 1], [0, 0]]


def test_each_round_asks_about_all_problems_at_once():
    rounds = []

    def judge(asked):
        rounds.append(len(asked))
        return fractions_are_equal(asked)

    answer_classes([Problem("any", list("123"), [False] * 3) for _ in range(5)], judge)
    assert rounds == [10, 5]


@given(st.lists(st.sampled_from(["1", "1.0", "2", "4/2", "x", None]), max_size=8))
def test_classes_are_those_of_the_values(answers):
    values = {"1": 1, "1.0": 1, "2": 2, "4/2": 2, "x": "x", None: None}
    found = classes(*answers)
    for one, a in zip(found, answers, strict=True):
        for other, b in zip(found, answers, strict=True):
            assert (one == other) == (values[a] == values[b])
