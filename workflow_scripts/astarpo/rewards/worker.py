"""A worker process of the pool: it judges one question after another, and dies if one takes too long."""

from __future__ import annotations

import resource
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection

from astarpo.rewards import latex
from astarpo.rewards.verdicts import Response, Status, Verdict
from astarpo.rewards.verifiers import find_entry

READY = "ready"


@dataclass(frozen=True)
class Limits:
    """Limits for judging one question.

    Attributes:
        cpu_s: CPU seconds of the worker process (user and system, all threads), which do not depend on how busy
            the machine is.
        wall_s: wall-clock seconds, for verifiers that wait instead of computing.
        memory_bytes: address space of the worker process.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int = 2 * 2**30


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


def judge(question: Question) -> Outcome:
    """Call the verifier; an exception is an error of this question and does not end the run."""
    try:
        entry = find_entry(question.verifier)
        if entry is None:
            raise LookupError(f"unknown verifier {question.verifier!r}")
        verdict = entry.judge(question.gold, question.response)
    except BaseException as error:  # SystemExit too: a verifier must not end the worker
        return Outcome("error", None, f"{type(error).__name__}: {str(error)[:300]}")
    return as_outcome(verdict)


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
            _start_timers(limits.cpu_s, limits.wall_s)
            outcome = judge(question)
            _start_timers(0, 0)
            connection.send(outcome)


def _start_timers(cpu_s: float, wall_s: float) -> None:
    """Restart both timers; 0 stops one. A verifier may have replaced the signal handlers, so they are reset."""
    for number, timer, seconds in (
        (signal.SIGPROF, signal.ITIMER_PROF, cpu_s),
        (signal.SIGALRM, signal.ITIMER_REAL, wall_s),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(timer, seconds)
