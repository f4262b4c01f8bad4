"""A pool of killable worker processes: each question gets an outcome in time, whatever the verifier does."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from astarpo.common.errors import InputError
from astarpo.rewards.worker import READY, Limits, Loading, Outcome, Question, serve

GRACE_S = 1.0  # the pool kills a worker that exceeds its wall-clock limit by this much
STARTING_S = 120.0
STARTS = 3  # failed starts before the pool gives up
LARGEST_LIST = 32  # questions sent to a worker at a time
RETIRE_AFTER = 20_000  # questions; a new process frees what a verifier's library has leaked


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    loading: str | None = None  # the user's verifier that it is loading
    pending: deque[int] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    answered: int = 0


class GradingPool:
    """Judges questions in worker processes.

    Args:
        workers: processes, started when there is something to judge.
        limits: of each question; a worker that exceeds one is killed, and only its question is lost.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self.workers, self.limits = workers, limits
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["math_verify"])
        self._running: list[_Worker] = []
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Start the process that workers are forked from, which imports math-verify, without waiting for it."""
        forkserver.ensure_running()

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._running:
            self._end(worker)
        self._running = []

    def judge(self, questions: Sequence[Question]) -> Iterator[tuple[int, Outcome]]:
        """Judge questions.

        Args:
            questions: any number.

        Yields:
            (index, outcome) as they arrive, each index once.

        Raises:
            InputError: workers fail to start, or cannot load a user's verifier.
        """
        waiting = deque(range(len(questions)))
        try:
            while waiting or any(worker.pending for worker in self._running):
                self._hand_out(waiting, questions)
                wait([worker.connection for worker in self._running], self._seconds_left())
                for worker in list(self._running):
                    yield from self._listen(worker, waiting)
        finally:
            # After an early exit nobody reads the pending outcomes.
            for worker in [worker for worker in self._running if worker.pending]:
                self._remove(worker)

    def _hand_out(self, waiting: deque[int], questions: Sequence[Question]) -> None:
        busy = sum(bool(worker.pending) for worker in self._running)
        while waiting and len(self._running) < min(self.workers, busy + len(waiting)):
            self._start()
        size = max(1, min(LARGEST_LIST, len(waiting) // (2 * self.workers)))
        for worker in list(self._running):
            if worker.pending or not worker.ready or not waiting:
                continue
            if worker.answered >= RETIRE_AFTER:
                self._remove(worker)
                continue
            places = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            worker.pending, worker.since = deque(places), time.monotonic()
            with contextlib.suppress(OSError):  # if it has died, `_listen` handles it
                worker.connection.send([questions[place] for place in places])

    def _start(self) -> None:
        if self._failed_starts >= STARTS:
            raise InputError(
                f"a grading worker failed to start {STARTS} times; is there enough memory, and is math-verify "
                "installed? Its messages are above."
            )
        pool_end, worker_end = self._context.Pipe()
        process = self._context.Process(target=serve, args=(worker_end, self.limits), daemon=True)
        process.start()
        worker_end.close()
        self._running.append(_Worker(process, pool_end))

    def _seconds_left(self) -> float:
        """Seconds until the first worker is overdue."""
        deadlines = [self._deadline(worker) for worker in self._running if self._is_busy(worker)]
        return max(0.0, min(deadlines, default=time.monotonic() + 1) - time.monotonic())

    def _is_busy(self, worker: _Worker) -> bool:
        return bool(worker.pending) or not worker.ready

    def _deadline(self, worker: _Worker) -> float:
        if not worker.ready:
            return worker.since + STARTING_S
        return worker.since + GRACE_S + (self.limits.wall_s if worker.loading is None else self.limits.loading_s)

    def _listen(self, worker: _Worker, waiting: deque[int]) -> Iterator[tuple[int, Outcome]]:
        """Receive a worker's messages, or notice that it has died or is overdue."""
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                worker.since = time.monotonic()
                if message == READY:
                    worker.ready, self._failed_starts = True, 0
                elif isinstance(message, Loading):
                    worker.loading = message.verifier if message.state == "begun" else None
                    if message.state == "failed":
                        raise _unloadable(message.verifier, message.detail)
                else:
                    worker.answered += 1
                    yield worker.pending.popleft(), message
        except (EOFError, OSError):
            yield from self._handle_death(worker, waiting, overdue=False)
            return
        if self._is_busy(worker) and time.monotonic() >= self._deadline(worker):
            yield from self._handle_death(worker, waiting, overdue=True)

    def _handle_death(self, worker: _Worker, waiting: deque[int], overdue: bool) -> Iterator[tuple[int, Outcome]]:
        """Record the question that killed a worker, and requeue its other questions in order."""
        self._remove(worker)
        code = worker.process.exitcode
        if not worker.ready:
            self._failed_starts += 1
            return
        if not worker.pending:
            return
        if worker.loading is not None:
            late = overdue or code == -signal.SIGALRM
            detail = (
                f"this took more than {self.limits.loading_s:g} s" if late else f"it ended its process ({_exit(code)})"
            )
            raise _unloadable(worker.loading, detail)
        place = worker.pending.popleft()
        waiting.extendleft(reversed(worker.pending))
        worker.pending.clear()
        if code == -signal.SIGPROF:
            detail = f"took more than {self.limits.cpu_s:g} s of CPU time"
            yield place, Outcome("timeout", None, detail)
        elif overdue or code == -signal.SIGALRM:
            detail = f"took more than {self.limits.wall_s:g} s of wall-clock time"
            yield place, Outcome("timeout", None, detail)
        else:
            yield place, Outcome("error", None, f"the verifier ended its process ({_exit(code)})")

    def _remove(self, worker: _Worker) -> None:
        self._end(worker)
        self._running.remove(worker)

    def _end(self, worker: _Worker) -> None:
        worker.connection.close()
        if worker.pending or not worker.ready:
            worker.process.kill()
        worker.process.join(GRACE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _unloadable(verifier: str, detail: str) -> InputError:
    return InputError(f"verifier {verifier} cannot be loaded: {detail}; fix the file")


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}"
