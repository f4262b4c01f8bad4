"""Which answers to a problem mean the same, judged by the verifier of the problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# (verifier, answer taken for gold, other answer).
Asked = tuple[str, str, str]
# Whether the verifier takes the other answer for the first, for many at a time.
Judge = Callable[[Sequence[Asked]], Sequence[bool]]


@dataclass(frozen=True)
class Problem:
    """The answers to one problem.

    Attributes:
        verifier: name of the problem's verifier.
        answers: as extracted, one a response; None where there is none.
        right: whether the response was graded right.
    """

    verifier: str
    answers: Sequence[str | None]
    right: Sequence[bool]


def answer_classes(problems: Sequence[Problem], judge: Judge) -> list[list[int | None]]:
    """Number the answers to each problem so that those that mean the same have the same number.

    Right answers all mean the gold one. Of the others the first is taken for gold and the rest is judged by it,
    then the first of those that were not equal, and so on; a verdict that cannot be had counts as not equal.

    Args:
        problems: answers of any number of problems; each round asks about all of them at once.
        judge: the verifiers.

    Returns:
        For each problem a number an answer: the place of the first answer that means the same; None for none.
    """
    classes = [_of_equal_texts(problem) for problem in problems]
    waiting = [_distinct(of_problem) for of_problem in classes]
    while any(len(places) > 1 for places in waiting):
        asked = [(number, places[0], other) for number, places in enumerate(waiting) for other in places[1:]]
        verdicts = judge(
            [
                (
                    problems[n].verifier,
                    str(problems[n].answers[first]),
                    str(problems[n].answers[other]),
                )
                for n, first, other in asked
            ]
        )
        same = {(n, other): first for (n, first, other), yes in zip(asked, verdicts, strict=True) if yes}
        for number, of_problem in enumerate(classes):
            classes[number] = [one if one is None else same.get((number, one), one) for one in of_problem]
        waiting = [
            [place for place in places[1:] if (number, place) not in same] for number, places in enumerate(waiting)
        ]
    return classes


def _of_equal_texts(problem: Problem) -> list[int | None]:
    """Classes before any judging: equal texts together, and all texts that were graded right."""
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
    return sorted({one for one in classes if one is not None})
