"""Grading in bulk: verdicts in input order, rewards by an explicit policy, and a limit on failures."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import Self

from astarpo.common.errors import InputError
from astarpo.rewards.pool import GradingPool
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verdicts import Response, Status
from astarpo.rewards.verifiers import Canary, find_entry, is_own, judges_truncated, problem_with
from astarpo.rewards.worker import Limits, Outcome, Question, as_outcome

NULL_STATUSES = ("timeout", "error")
SHOWN_CHARACTERS = 80  # of a response, in messages
REPEATED = 32  # responses that each user's verifier grades twice


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
    """Show why grades are null, and stop if too many are, so that rewards do not go missing silently.

    Args:
        settings: the maximum rate and minimum number of null grades.
        window: how many recent grades count.
        shown: how many different causes are printed; 0 where null grades are expected.
    """

    def __init__(self, settings: GradingSettings, window: int = 1000, shown: int = 5) -> None:
        self.settings, self.shown = settings, shown
        self._recent: deque[str | None] = deque(maxlen=window)  # a description of each grade that is null
        self._causes: set[tuple[str, str]] = set()

    def check(self, grade: Grade, question: Question) -> None:
        """Record a grade; the first one of each cause that is null is printed.

        Raises:
            InputError: the rate of null grades exceeds the limit; the message shows examples.
        """
        self._recent.append(None if grade.reward is not None else _describe(grade, question))
        if grade.reward is not None:
            return
        cause = question.verifier, f"{grade.status}: {grade.detail}".split(": ", 2)[1]
        if cause not in self._causes and len(self._causes) < self.shown:
            self._causes.add(cause)
            print(f"warning: a grade is null: {self._recent[-1]}", file=sys.stderr, flush=True)
        nulls = [recent for recent in self._recent if recent is not None]
        rate = len(nulls) / len(self._recent)
        if len(nulls) >= self.settings.min_nulls and rate > self.settings.max_null_rate:
            examples = "; ".join(list(dict.fromkeys(nulls))[:3])
            raise InputError(
                f"{len(nulls)} of the last {len(self._recent)} grades are null "
                f"(limit: {self.settings.max_null_rate:.1%}, and at least {self.settings.min_nulls}). "
                f"Examples: {examples}. Fix the verifier or the gold answers, or raise grading.max_null_rate."
            )


def _describe(grade: Grade, question: Question) -> str:
    return f"{grade.status}: {grade.detail} ({_shown(question)})"


def _shown(question: Question) -> str:
    """A question in one line, with the first characters of its response."""
    text = question.response.text
    response = repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")
    return f"verifier {question.verifier}, gold answer {question.gold!r:.{SHOWN_CHARACTERS}}, response {response}"


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
        self._repeated: Counter[str] = Counter()  # verifier -> responses graded twice
        self.pool = GradingPool(workers, limits_of(settings))
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self, verifiers: Iterable[str]) -> None:
        """Let the pool import what its workers need while this process does something else, if they will be needed.

        Args:
            verifiers: names of those that will judge.
        """
        if any(_needs_workers(name) for name in set(verifiers)):
            self.pool.prepare()

    def close(self) -> None:
        """Stop the workers."""
        self.pool.close()

    def grade(self, questions: Iterable[Question]) -> list[Grade]:
        """Grade responses; of several threads, one at a time.

        Args:
            questions: responses with their gold answers.

        Returns:
            One grade per question, in order.

        Raises:
            InputError: an unknown verifier, one that is not deterministic or cannot be loaded, too many null grades,
                or workers that fail to start.
        """
        batch = list(questions)
        with self._lock:
            return self._grade_batch(batch)

    def _grade_batch(self, batch: Sequence[Question]) -> list[Grade]:
        grades: dict[int, Grade] = {}
        for place, outcome in self._outcomes(batch):
            grades[place] = self._grade(outcome, batch[place])
            self.guard.check(grades[place], batch[place])
        if self.settings.deterministic:
            self._grade_again(batch, grades)
        return [grades[place] for place in range(len(batch))]

    def _grade_again(self, batch: Sequence[Question], grades: Mapping[int, Grade]) -> None:
        """Grade a sample of the users' verifiers' responses twice, the second time in reverse order.

        Timeouts are left out: a response close to the limit may exceed it only sometimes.

        Raises:
            InputError: the two grades of a response differ.
        """
        places_of: dict[str, list[int]] = defaultdict(list)
        for place, question in enumerate(batch):
            if is_own(question.verifier) and grades[place].status != "timeout":
                places_of[question.verifier].append(place)
        sample: list[int] = []
        for verifier, places in places_of.items():
            wanted = REPEATED - self._repeated[verifier]
            spread = places[:: ceil(len(places) / wanted)] if wanted > 0 else []
            self._repeated[verifier] += len(spread)
            sample += spread
        sample.reverse()
        for index, outcome in self.pool.judge([batch[place] for place in sample]):
            first, second = grades[sample[index]], self._grade(outcome, batch[sample[index]])
            if second.status != "timeout" and (first.status, first.answer) != (second.status, second.answer):
                raise _not_deterministic(batch[sample[index]], first, second)

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

    def _grade(self, outcome: Outcome, question: Question) -> Grade:
        status: Status = outcome.status
        if status in NULL_STATUSES:
            return Grade(None, status, outcome.answer, outcome.detail)
        cut = question.response.finish_reason == "length" and self.settings.truncated == "incorrect"
        if cut and status == "correct" and not judges_truncated(question.verifier):
            status = "incorrect"
        return Grade(1.0 if status == "correct" else 0.0, status, outcome.answer)

    def check_canaries(self, verifiers: Iterable[str]) -> None:
        """Grade responses with known grades, to detect broken verifiers early.

        Args:
            verifiers: names.

        Raises:
            InputError: a grade is wrong, so the verifier or a library that it uses is broken.
        """
        canaries = [(name, canary) for name in sorted(set(verifiers)) for canary in _canaries(name)]
        outcomes = dict(self._outcomes([_question(name, canary) for name, canary in canaries]))
        for place, (name, (gold, text, status)) in enumerate(canaries):
            outcome = outcomes[place]
            if outcome.status != status:
                raise InputError(
                    f"verifier {name!r} is broken: gold {gold!r} and response {text!r} must be {status}, but the "
                    f"verdict is {outcome.status}{' (' + outcome.detail + ')' if outcome.detail else ''}"
                )


def _not_deterministic(question: Question, first: Grade, second: Grade) -> InputError:
    one, other = (f"{grade.status} (answer {grade.answer!r:.{SHOWN_CHARACTERS}})" for grade in (first, second))
    return InputError(
        f"a response was graded twice, and the grades differ: {one}, then {other}; {_shown(question)}. The results "
        "could not be repeated. Make the verifier deterministic, or allow this with grading.deterministic: false"
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


def _question(verifier: str, canary: Canary) -> Question:
    gold, text, _ = canary
    return Question(verifier, gold, Response(text, [], "stop"))


def _needs_workers(verifier: str) -> bool:
    """Whether a user's verifier, or one that leaves a canary to a worker."""
    return is_own(verifier) or any(_quickly(_question(verifier, canary)) is None for canary in _canaries(verifier))


def status_counts(grades: Iterable[Grade]) -> dict[str, int]:
    """Count the grades by status."""
    return dict(Counter(graded.status for graded in grades))
