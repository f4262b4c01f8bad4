"""Classes of equivalent answers to a problem, as judged by its verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# (verifier, answer used as gold, other answer).
AnswerPair = tuple[str, str, str]
# Whether the answers of each pair are equivalent, for many pairs at a time.
Judge = Callable[[Sequence[AnswerPair]], Sequence[bool]]


@dataclass(frozen=True)
class Problem:
    """The answers to one problem.

    Attributes:
        verifier: name of the problem's verifier.
        answers: as extracted, one per response; None if there is none.
        right: whether each response was graded correct.
    """

    verifier: str
    answers: Sequence[str | None]
    right: Sequence[bool]


def answer_classes(problems: Sequence[Problem], judge: Judge) -> list[list[int | None]]:
    """Number the answers to each problem so that equivalent ones have the same number.

    Correct answers are all equivalent. Of the others, the first serves as gold for the rest, then the first of those
    that differ from it, and so on. A missing verdict counts as a difference.

    Args:
        problems: any number; each round judges pairs of all of them at once.
        judge: the verifiers.

    Returns:
        For each problem, one number per answer: the index of the first equivalent answer; None without an answer.
    """
    classes = [_of_equal_texts(problem) for problem in problems]
    waiting = [_distinct(of_problem) for of_problem in classes]
    while any(len(places) > 1 for places in waiting):
        pairs = [(number, places[0], other) for number, places in enumerate(waiting) for other in places[1:]]
        verdicts = judge(
            [
                (
                    problems[n].verifier,
                    str(problems[n].answers[first]),
                    str(problems[n].answers[other]),
                )
                for n, first, other in pairs
            ]
        )
        same = {(n, other): first for (n, first, other), yes in zip(pairs, verdicts, strict=True) if yes}
        for number, of_problem in enumerate(classes):
            classes[number] = [place if place is None else same.get((number, place), place) for place in of_problem]
        waiting = [
            [place for place in places[1:] if (number, place) not in same] for number, places in enumerate(waiting)
        ]
    return classes


def _of_equal_texts(problem: Problem) -> list[int | None]:
    """Initial classes: equal texts, and all texts that were graded correct."""
    ever_right = {answer for answer, right in zip(problem.answers, problem.right, strict=True) if right}
    first: dict[str, int] = {}
    classes: list[int | None] = []
    for place, answer in enumerate(problem.answers):
        if not answer:
            classes.append(None)
            continue
        key = "right" if answer in ever_right else f"text {answer.strip()}"
        classes.append(first.setdefault(key, place))
    return classes


def _distinct(classes: Iterable[int | None]) -> list[int]:
    return sorted({place for place in classes if place is not None})
