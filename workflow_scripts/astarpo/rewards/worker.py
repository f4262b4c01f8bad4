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


def serve(connection: Connection, timeout_s: float, memory_bytes: int) -> None:
    """Answer lists of questions, one outcome at a time, until the connection closes.

    The kernel's own clock ends the process when a question takes longer than ``timeout_s``: no code of a verifier
    can be in its way, and it works when the parent is busy, or gone.

    Args:
        connection: to the pool.
        timeout_s: wall-clock seconds that a question may take.
        memory_bytes: address space that the process may have.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    latex.leave_the_clock_to_the_worker()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    connection.send(READY)
    while True:
        try:
            questions: list[Question] = connection.recv()
        except EOFError:
            return
        for question in questions:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            outcome = judge(question)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send(outcome)
