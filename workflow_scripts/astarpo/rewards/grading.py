"""Grading many responses: verdicts in input order, rewards by one explicit policy, a guard on failures."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from astarpo.common.errors import InputError
from astarpo.rewards.pool import GradingPool
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response, Status
from astarpo.rewards.verifiers import Canary, find_entry, problem_with
from astarpo.rewards.worker import Limits, Outcome, Question, as_outcome

NULL_STATUSES = ("timeout", "error")


@dataclass(frozen=True)
class Grade:
    """Reward 1.0, 0.0 or None (not known: timeout or error), with status and extracted answer."""

    reward: float | None
    status: Status
    answer: str | None
    detail: str = ""


def limits_of(settings: GradingSettings) -> Limits:
    """What judging one response may cost: CPU seconds, and wall-clock seconds behind them."""
    return Limits(settings.timeout_s, settings.wall_timeout_s or max(60.0, 10 * settings.timeout_s))


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
                f"Examples: {examples}. Fix the verifier or the gold answers, or raise grading.max_null_rate."
            )


class Grader:
    """Grades responses: what is quick at once, the rest in a pool of killable workers that lives as long as this.

    Args:
        settings: policy for truncated responses, time limit, limits for null grades.
        workers: processes of the pool; none is started before there is something slow to judge.
        guard: counts null grades over all calls; None makes one.
    """

    def __init__(self, settings: GradingSettings, workers: int = 1, guard: NullGuard | None = None) -> None:
        self.settings = settings
        self.guard = guard or NullGuard(settings)
        self.pool = GradingPool(workers, limits_of(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self.pool.close()

    def grade(self, questions: Iterable[Question]) -> list[Grade]:
        """Grade responses.

        Args:
            questions: what to grade.

        Returns:
            One grade per question, in their order.

        Raises:
            InputError: an unknown verifier, too many null grades, or workers that cannot be started.
        """
        asked = list(questions)
        grades: dict[int, Grade] = {}
        for place, outcome in self._outcomes(asked):
            grades[place] = self._grade(outcome, asked[place].response)
            self.guard.check(grades[place])
        return [grades[place] for place in range(len(asked))]

    def _outcomes(self, questions: Sequence[Question]) -> Iterator[tuple[int, Outcome]]:
        slow = []
        for place, question in enumerate(questions):
            outcome = _quickly(question)
            if outcome is None:
                slow.append(place)
            else:
                yield place, outcome
        for index, outcome in self.pool.judge([questions[place] for place in slow]):
            yield slow[index], outcome

    def _grade(self, outcome: Outcome, response: Response) -> Grade:
        status: Status = outcome.status
        if status in NULL_STATUSES:
            return Grade(None, status, outcome.answer, outcome.detail)
        cut = response.finish_reason == "length" and self.settings.truncated == "incorrect"
        if cut and status == "correct":
            status = "incorrect"
        return Grade(1.0 if status == "correct" else 0.0, status, outcome.answer)

    def check_canaries(self, verifiers: Iterable[str]) -> None:
        """Grade responses whose grades are known, before anything that matters is graded.

        Args:
            verifiers: names.

        Raises:
            InputError: a grade is not what it must be: the verifier or what it builds on is broken.
        """
        canaries = [(name, *canary) for name in sorted(set(verifiers)) for canary in _canaries(name)]
        questions = [Question(name, gold, Response(text, [], "stop")) for name, gold, text, _ in canaries]
        outcomes = dict(self._outcomes(questions))
        for place, (name, gold, text, status) in enumerate(canaries):
            found = outcomes[place]
            if found.status != status:
                raise InputError(
                    f"verifier {name!r} is broken: gold {gold!r} and response {text!r} must be {status}, but it says "
                    f"{found.status}{' (' + found.detail + ')' if found.detail else ''}"
                )


def grade(questions: Iterable[Question], settings: GradingSettings, guard: NullGuard | None = None) -> list[Grade]:
    """Grade responses once, see `Grader.grade`."""
    with Grader(settings, guard=guard) as grader:
        return grader.grade(questions)


def _quickly(question: Question) -> Outcome | None:
    entry = find_entry(question.verifier)
    if entry is None:
        raise InputError(f"unknown verifier {question.verifier!r}; {problem_with(question.verifier)}")
    try:
        verdict = entry.quick(question.gold, question.response)
    except Exception as error:
        # Whatever a verifier raises is a status of this item, not the end of the run.
        return Outcome("error", None, f"{type(error).__name__}: {error}")
    return None if verdict is None else as_outcome(verdict)


def _canaries(verifier: str) -> Sequence[Canary]:
    entry = find_entry(verifier)
    return () if entry is None else entry.canaries


def status_counts(grades: Iterable[Grade]) -> dict[str, int]:
    """Count the grades of each status."""
    return dict(Counter(graded.status for graded in grades))
