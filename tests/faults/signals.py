"""SIGINT and SIGTERM, to the process or its group, once or twice; then the same command again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial

from faults.cases import ANSWERS, GRADING, REFERENCE, SAMPLING, TRAINING, Case, Outcome, finished_well, last_line
from faults.lab import Lab
from faults.processes import Moment

EXPECTED = "ends with at most one line and no traceback; then the same outputs"
APART_S = 0.02  # between two signals
# Before the first line of the stage's own modules, in the middle of its work, and while it writes its results.
TRAINING_MOMENTS = {"start-up": "astarpo.training.job", "middle": "step-000002.partial/state.pt", "export": "README.md"}
OTHERS = {REFERENCE: "model.partial", SAMPLING: ".parquet.partial", ANSWERS: ".parquet.partial", GRADING: ".partial"}


def cases(_seed: int) -> Iterator[Case]:
    """All combinations for a training, some for other stages."""
    for number in (signal.SIGINT, signal.SIGTERM):
        for group in (False, True):
            for count in (1, 2):
                for moment, place in TRAINING_MOMENTS.items():
                    yield _case(number, group, count, TRAINING, moment, place)
        for job, place in OTHERS.items():
            yield _case(number, True, 1, job, "start-up", "astarpo.common.provenance")
            yield _case(number, True, 2, job, "while it writes", place)


def _case(number: int, group: bool, count: int, job: str, moment: str, place: str) -> Case:
    name = signal.Signals(number).name
    to = f"{moment}, to the {'group' if group else 'process'}, {'twice' if count == 2 else 'once'}"
    signalled_there = partial(signalled, job=job, number=number, group=group, count=count, place=place)
    return Case(name, job, to, EXPECTED, signalled_there, (job,))


def signalled(lab: Lab, job: str, number: int, group: bool, count: int, place: str) -> Outcome:
    """Stop a job at a place, send signals, let it go on to its end; then run it again.

    Args:
        lab: with the finished job.
        job: its name.
        number, group, count: the signal, whether the whole group gets it, how often.
        place: a module that it imports, or a part of a call that changes a file.
    """
    by_module = place.startswith("astarpo.")
    moment = Moment(part=None if by_module else place, module=place if by_module else None, number=signal.SIGSTOP)
    with lab.project(job) as folder:
        with lab.start(job, folder, moment) as running:
            if running.wait(stopped=True):
                return Outcome(f"it never came to {place}: {last_line(running.end())}", good=False)
            running.signal(number, group)
            running.signal(signal.SIGCONT)
            for _ in range(count - 1):
                time.sleep(APART_S)
                running.signal(number, group)
            ended = running.end()
        happened = f"exit status {ended.status}, {last_line(ended)!r}"
        if "Traceback" in ended.output:
            return Outcome(f"a traceback: {happened}", good=False)
        said = [line for line in ended.output.splitlines() if line.startswith(("stopped: ", "error: "))]
        by_default = ended.status == -signal.SIGTERM and number == signal.SIGTERM
        if ended.status not in (0, 75, 128 + signal.SIGINT) and not by_default:
            return Outcome(happened, good=False)
        if len(said) != (1 if ended.status > 0 else 0):
            return Outcome(f"{len(said)} lines: {happened}", good=False)
        return finished_well(lab, job, folder, lab.run(job, folder), happened)
