"""Grading in bulk: verdicts in input order, rewards by an explicit policy, and a limit on failures."""

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
    """A reward of 1.0, 0.0 or None (unknown: timeout or error), with status and extracted answer."""

    reward: float | None
    status: Status
    answer: str | None
    detail: str = ""


def limits_of(settings: GradingSettings) -> Limits:
    """The limits for judging one response, in CPU seconds and wall-clock seconds."""
    return Limits(settings.timeout_s, settings.wall_timeout_s or max(60.0, 10 * settings.timeout_s))


class NullGuard:
    """Stop if too many grades are null, so that rewards do not go missing silently.

    Args:
        settings: the maximum rate and minimum number of null grades.
        window: how many recent grades count.
    """

    def __init__(self, settings: GradingSettings, window: int = 1000) -> None:
        self.settings = settings
        self._recent: deque[Grade] = deque(maxlen=window)

    def check(self, grade: Grade) -> None:
        """Record a grade.

        Raises:
            InputError: the rate of null grades exceeds the limit; the message shows examples.
        """
        self._recent.append(grade)
        if grade.reward is not None:
            return
        nulls = [recent for recent in self._recent if recent.reward is None]
        rate = len(nulls) / len(self._recent)
        if len(nulls) >= self.settings.min_nulls and rate > self.settings.max_null_rate:
            examples = "; ".join(sorted({f"{recent.status}: {recent.detail}" for recent in nulls})[:3])
            raise InputError(
                f"{len(nulls)} of the last {len(self._recent)} grades are null "
                f"(limit: {self.settings.max_null_rate:.1%}, and at least {self.settings.min_nulls}). "
                f"Examples: {examples}. Fix the verifier or the gold answers, or raise grading.max_null_rate."
            )


class Grader:
    """Grades responses: quick ones directly, the rest in a pool of killable workers that lives until `close`.

    Args:
        settings: policy for truncated responses, time limit, limits for null grades.
        workers: processes of the pool, started when there is something slow to judge.
        guard: counts null grades across calls; by default a new one.
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
        """Stop the workers."""
        self.pool.close()

    def grade(self, questions: Iterable[Question]) -> list[Grade]:
        """Grade responses.

        Args:
            questions: responses with their gold answers.

        Returns:
            One grade per question, in order.

        Raises:
            InputError: an unknown verifier, too many null grades, or workers that fail to start.
        """
        batch = list(questions)
        grades: dict[int, Grade] = {}
        for place, outcome in self._outcomes(batch):
            grades[place] = self._grade(outcome, batch[place].response)
            self.guard.check(grades[place])
        return [grades[place] for place in range(len(batch))]

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
        """Grade responses with known grades, to detect broken verifiers early.

        Args:
            verifiers: names.

        Raises:
            InputError: a grade is wrong, so the verifier or a library that it uses is broken.
        """
        canaries = [(name, *canary) for name in sorted(set(verifiers)) for canary in _canaries(name)]
        questions = [Question(name, gold, Response(text, [], "stop")) for name, gold, text, _ in canaries]
        outcomes = dict(self._outcomes(questions))
        for place, (name, gold, text, status) in enumerate(canaries):
            outcome = outcomes[place]
            if outcome.status != status:
                raise InputError(
                    f"verifier {name!r} is broken: gold {gold!r} and response {text!r} must be {status}, but the "
                    f"verdict is {outcome.status}{' (' + outcome.detail + ')' if outcome.detail else ''}"
                )


def grade(questions: Iterable[Question], settings: GradingSettings, guard: NullGuard | None = None) -> list[Grade]:
    """Grade responses once; see `Grader.grade`."""
    with Grader(settings, guard=guard) as grader:
        return grader.grade(questions)


def _quickly(question: Question) -> Outcome | None:
    entry = find_entry(question.verifier)
    if entry is None:
        raise InputError(f"unknown verifier {question.verifier!r}; {problem_with(question.verifier)}")
    try:
        verdict = entry.quick(question.gold, question.response)
    except Exception as error:
        # An exception in a verifier sets this response's status and does not end the run.
        return Outcome("error", None, f"{type(error).__name__}: {error}")
    return None if verdict is None else as_outcome(verdict)


def _canaries(verifier: str) -> Sequence[Canary]:
    entry = find_entry(verifier)
    return () if entry is None else entry.canaries


def status_counts(grades: Iterable[Grade]) -> dict[str, int]:
    """Count the grades by status."""
    return dict(Counter(graded.status for graded in grades))
