"""Grading many responses: verdicts in input order, rewards by one explicit policy, a guard on failures."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from astarpo.errors import InputError
from astarpo.rewards.verifiers import VERIFIERS, Response, Status, Verdict

NULL_STATUSES = ("timeout", "error")


@dataclass(frozen=True)
class GradingSettings:
    """How verdicts become rewards.

    Attributes:
        truncated: ``incorrect`` gives a response cut at the token limit reward 0 whatever it says;
            ``as_judged`` lets the verifier's verdict stand.
        max_null_rate: highest share of null grades among the last 1,000.
        min_nulls: fewer null grades than this never stop the stage.
    """

    truncated: str
    max_null_rate: float
    min_nulls: int


@dataclass(frozen=True)
class Item:
    """One thing to grade: the name of the verifier, the gold answer and the response."""

    verifier: str
    gold: str
    response: Response


@dataclass(frozen=True)
class Grade:
    """Reward 1.0, 0.0 or None (not known: timeout or error), with status and extracted answer."""

    reward: float | None
    status: Status
    answer: str | None
    detail: str = ""


class NullGuard:
    """Stop when too many grades are null: reward signals must not go missing in silence.

    Args:
        settings: the rate and the least number.
        window: how many of the last grades count.
    """

    def __init__(self, settings: GradingSettings, window: int = 1000) -> None:
        self.settings = settings
        self._recent: deque[Grade] = deque(maxlen=window)

    def check(self, grade: Grade) -> None:
        """Note a grade.

        Raises:
            InputError: the share of null grades is above the limit; the message shows examples.
        """
        self._recent.append(grade)
        if grade.reward is not None:
            return
        nulls = [noted for noted in self._recent if noted.reward is None]
        rate = len(nulls) / len(self._recent)
        if len(nulls) >= self.settings.min_nulls and rate > self.settings.max_null_rate:
            examples = "; ".join(sorted({f"{noted.status}: {noted.detail}" for noted in nulls})[:3])
            raise InputError(
                f"{len(nulls)} of the last {len(self._recent)} grades are null "
                f"(limit: {self.settings.max_null_rate:.1%}, and at least {self.settings.min_nulls}). "
                f"Examples: {examples}. Mend the verifier or the gold answers, or raise grading.max_null_rate."
            )


def grade(
    items: Iterable[Item], settings: GradingSettings, guard: NullGuard | None = None
) -> list[Grade]:
    """Grade responses.

    Args:
        items: what to grade.
        settings: policy for truncated responses and limits for null grades.
        guard: a guard that goes on counting from call to call (training); None makes a new one.

    Returns:
        One grade an item, in the order of the items.

    Raises:
        InputError: an unknown verifier, or too many null grades.
    """
    guard = guard or NullGuard(settings)
    grades = []
    for item in items:
        graded = _grade_one(item, settings)
        guard.check(graded)
        grades.append(graded)
    return grades


def _grade_one(item: Item, settings: GradingSettings) -> Grade:
    verifier = VERIFIERS.get(item.verifier)
    if verifier is None:
        raise InputError(
            f"unknown verifier {item.verifier!r}; known are {', '.join(sorted(VERIFIERS))}"
        )
    try:
        verdict: Verdict = verifier(item.gold, item.response)
    except Exception as error:
        # Whatever a verifier raises is a status of this item, not the end of the run.
        return Grade(None, "error", None, f"{type(error).__name__}: {error}")
    cut = item.response.finish_reason == "length" and settings.truncated == "incorrect"
    status: Status = "incorrect" if cut and verdict.status == "correct" else verdict.status
    if status in NULL_STATUSES:
        return Grade(None, status, verdict.answer, repr(verdict.answer))
    return Grade(1.0 if status == "correct" else 0.0, status, verdict.answer)


def status_counts(grades: Iterable[Grade]) -> dict[str, int]:
    """Count the grades of each status."""
    return dict(Counter(graded.status for graded in grades))
