"""A worker process of the pool: judges one question after another, and dies at the first that takes too long."""

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
    """What judging one question may cost.

    Attributes:
        cpu_s: CPU seconds of the worker process (user and system, all of its threads). A busy machine takes longer
            over the same work, but spends no more of these on it.
        wall_s: wall-clock seconds, for a verifier that waits instead of computing.
        memory_bytes: address space of the worker process.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int = 2 * 2**30


@dataclass(frozen=True)
class Question:
    """One thing to judge: the name of the verifier, the gold answer and the response."""

    verifier: str
    gold: str
    response: Response


@dataclass(frozen=True)
class Outcome:
    """What came of a question; ``detail`` says why it has no verdict (``timeout``, ``error``)."""

    status: Status
    answer: str | None
    detail: str = ""


def judge(question: Question) -> Outcome:
    """Ask the verifier; whatever it raises is an error of this question, not the end of the run."""
    try:
        entry = find_entry(question.verifier)
        if entry is None:
            raise LookupError(f"unknown verifier {question.verifier!r}")
        verdict = entry.judge(question.gold, question.response)
    except BaseException as error:  # SystemExit too: a verifier has no say over the worker
        return Outcome("error", None, f"{type(error).__name__}: {str(error)[:300]}")
    return as_outcome(verdict)


def as_outcome(verdict: Verdict) -> Outcome:
    """A verdict as an outcome."""
    detail = f"answer {verdict.answer!r:.300}" if verdict.status in ("timeout", "error") else ""
    return Outcome(verdict.status, verdict.answer, detail)


def serve(connection: Connection, limits: Limits) -> None:
    """Answer lists of questions, one outcome at a time, until the connection closes.

    The kernel's own clocks end the process when a question exceeds a limit: SIGPROF for CPU time, SIGALRM for the
    wall clock. They work while the interpreter is stuck in C code, and when the parent is busy or gone.

    Args:
        connection: to the pool.
        limits: of each question.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    latex.leave_the_clock_to_the_worker()
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    connection.send(READY)
    while True:
        try:
            questions: list[Question] = connection.recv()
        except EOFError:
            return
        for question in questions:
            _start_clocks(limits.cpu_s, limits.wall_s)
            outcome = judge(question)
            _start_clocks(0, 0)
            connection.send(outcome)


def _start_clocks(cpu_s: float, wall_s: float) -> None:
    """Restart both clocks; 0 stops one. A verifier may have taken the signals over, so they are reset each time."""
    for number, timer, seconds in (
        (signal.SIGPROF, signal.ITIMER_PROF, cpu_s),
        (signal.SIGALRM, signal.ITIMER_REAL, wall_s),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(timer, seconds)
