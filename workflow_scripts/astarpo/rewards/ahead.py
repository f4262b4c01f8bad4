"""Grading in the background: responses are graded as they finish, while others are still being drawn."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Self

from astarpo.rewards.grading import Grade, Grader
from astarpo.rewards.worker import Question

_Batch = list[tuple[int, Question]]


class GradingAhead:
    """Grades one batch of responses in a thread, in the order in which they arrive.

    Args:
        grader: several batches may have the same.
    """

    def __init__(self, grader: Grader) -> None:
        self.grader = grader
        self._arrived: SimpleQueue[_Batch | None] = SimpleQueue()
        self._grades: dict[int, Grade] = {}
        self._error: BaseException | None = None
        # A daemon: a response that takes minutes must not keep a process alive that has failed for another reason.
        self._thread = Thread(target=self._work, name="grading", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._arrived.put(None)

    def add(self, places: Sequence[int], questions: Sequence[Question]) -> None:
        """Start to grade some responses, without waiting.

        Args:
            places: of the responses in the batch, each given once.
            questions: the responses with their gold answers.
        """
        if places:
            self._arrived.put(list(zip(places, questions, strict=True)))

    def grades(self) -> list[Grade]:
        """Wait for the grades of all responses, in the order of their places; nothing may be added afterwards.

        Raises:
            InputError: as `Grader.grade`.
        """
        self._arrived.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return [self._grades[place] for place in sorted(self._grades)]

    def _work(self) -> None:
        try:
            while batch := self._next():
                grades = self.grader.grade([question for _, question in batch])
                self._grades.update(zip([place for place, _ in batch], grades, strict=True))
        except BaseException as error:  # the thread that waits for the grades raises it
            self._error = error

    def _next(self) -> _Batch:
        """Return all that has arrived since the last time, so that no worker idles; empty at the end."""
        batch = self._arrived.get()
        whole = list(batch or ())
        while batch is not None and not self._arrived.empty():
            batch = self._arrived.get()
            whole += batch or ()
        if batch is None:
            self._arrived.put(None)  # also after this batch
        return whole
