"""A worker process of the pool: it judges one question after another, and dies if one takes too long."""

from __future__ import annotations

import resource
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

from astarpo.rewards import latex
from astarpo.rewards.verdicts import Response, Status, Verdict
from astarpo.rewards.verifiers import find_entry, is_own, load_function

READY = "ready"


@dataclass(frozen=True)
class Limits:
    """Limits for judging one question.

    Attributes:
        cpu_s: CPU seconds of the worker process (user and system, all threads), which do not depend on how busy
            the machine is.
        wall_s: wall-clock seconds, for verifiers that wait instead of computing.
        memory_bytes: address space of the worker process.
        loading_s: wall-clock seconds for loading a user's file, which do not count towards any question.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int = 2 * 2**30
    loading_s: float = 300.0


@dataclass(frozen=True)
class Question:
    """The name of a verifier, a gold answer and the response to judge."""

    verifier: str
    gold: str
    response: Response


@dataclass(frozen=True)
class Outcome:
    """The outcome of a question; ``detail`` explains a missing verdict (``timeout``, ``error``)."""

    status: Status
    answer: str | None
    detail: str = ""


@dataclass(frozen=True)
class Loading:
    """A message: a user's verifier begins to load, has been loaded, or cannot be loaded, as ``detail`` explains."""

    verifier: str
    state: Literal["begun", "done", "failed"]
    detail: str = ""


def judge(question: Question) -> Outcome:
    """Call the verifier; an exception is an error of this question and does not end the run."""
    try:
        entry = find_entry(question.verifier)
        if entry is None:
            raise LookupError(f"unknown verifier {question.verifier!r}")
        verdict = entry.judge(question.gold, question.response)
    except BaseException as error:  # SystemExit too: a verifier must not end the worker
        return Outcome("error", None, describe(error))
    return as_outcome(verdict)


def describe(error: BaseException) -> str:
    """The type and the message of an exception, in one line."""
    return " ".join(f"{type(error).__name__}: {str(error)[:300]}".split())


def as_outcome(verdict: Verdict) -> Outcome:
    """Convert a verdict to an outcome."""
    detail = f"answer {verdict.answer!r:.300}" if verdict.status in ("timeout", "error") else ""
    return Outcome(verdict.status, verdict.answer, detail)


def serve(connection: Connection, limits: Limits) -> None:
    """Judge lists of questions, sending one outcome at a time, until the connection closes.

    Kernel timers end the process when a question exceeds a limit: SIGPROF for CPU time, SIGALRM for the
    wall clock. They work even if the interpreter is stuck in C code, or the parent is busy or gone.

    Args:
        connection: to the pool.
        limits: of each question.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    latex.prepare_worker()
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    connection.send(READY)
    while True:
        try:
            questions: list[Question] = connection.recv()
        except EOFError:
            return
        for question in questions:
            if is_own(question.verifier) and not load(question.verifier, connection, limits):
                return
            _start_timers(limits.cpu_s, limits.wall_s)
            outcome = judge(question)
            _start_timers(0, 0)
            connection.send(outcome)


def load(verifier: str, connection: Connection, limits: Limits) -> bool:
    """Load a user's verifier if this process has not done so, under a limit of its own; whether it could be loaded."""
    if verifier in _loaded:
        return True
    connection.send(Loading(verifier, "begun"))
    _start_timers(0, limits.loading_s)
    try:
        load_function(verifier)
    except BaseException as error:  # SystemExit too
        _start_timers(0, 0)
        connection.send(Loading(verifier, "failed", describe(error)))
        return False
    _start_timers(0, 0)
    connection.send(Loading(verifier, "done"))
    _loaded.add(verifier)
    return True


_loaded: set[str] = set()  # verifiers, in this worker


def _start_timers(cpu_s: float, wall_s: float) -> None:
    """Restart both timers; 0 stops one. A verifier may have replaced the signal handlers, so they are reset."""
    for number, timer, seconds in (
        (signal.SIGPROF, signal.ITIMER_PROF, cpu_s),
        (signal.SIGALRM, signal.ITIMER_REAL, wall_s),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(timer, seconds)
