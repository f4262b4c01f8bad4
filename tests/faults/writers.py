"""The same job started twice at a time: the second is refused, the first ends well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from faults.cases import (
    ANSWERS,
    DATASET,
    GRADING,
    REFERENCE,
    SAMPLING,
    TRAINING,
    Case,
    Outcome,
    finished_well,
    last_line,
    refusal_problem,
)
from faults.lab import Lab
from faults.processes import Ended, Moment, Running

EXPECTED = "the second is refused in one line; the first ends with the same outputs"
# Parts of calls at which the first writer waits while the second starts.
PLACES = {
    TRAINING: ("step-000002.partial/state.pt", "model.partial/README.md", "metrics.parquet", "manifest.json"),
    DATASET: (".parquet.partial", ".card.json"),
    REFERENCE: ("model.partial", "manifest.json"),
    SAMPLING: (".parquet.partial", "manifest.json"),
    ANSWERS: (".parquet.partial",),
    GRADING: (".partial",),
}


def cases(_seed: int) -> Iterator[Case]:
    """Two starts through the launcher, in the work and in the export; for a training also of the bare script."""
    for job, places in PLACES.items():
        for place in places:
            yield _case(job, place, other_log=False)
    yield _case(TRAINING, "model.partial/README.md", other_log=True)


def _case(job: str, place: str, other_log: bool) -> Case:
    moment = f"first waits at {place}" + (", second has another log" if other_log else "")
    return Case(
        "two writers", job, moment, EXPECTED, partial(started_twice, job=job, place=place, other_log=other_log), (job,)
    )


def started_twice(lab: Lab, job: str, place: str, other_log: bool) -> Outcome:
    """Start a job, and again while the first waits at a place; then let the first end, and look at what it made.

    With another log, which has another lock, the script's own lock must refuse.
    """
    with lab.project(job) as folder:
        with lab.start(job, folder, Moment(part=place, number=signal.SIGSTOP)) as first:
            if first.wait(stopped=True):
                return Outcome(f"the first never came to {place}", good=False)
            log = folder / lab.jobs[job].log
            written = log.read_text()
            log.unlink()  # as Snakemake does before it starts a job again
            second = _second(lab, job, folder, other_log)
            problem = refusal_problem(second)
            log.write_text(written)
            first.signal(signal.SIGCONT)
            ended = first.end()
        happened = f"second: exit status {second.status}, {last_line(second)!r}"
        if problem is not None or "already running" not in second.output:
            return Outcome(f"the second was not refused: {problem or happened}", good=False)
        return finished_well(lab, job, folder, ended, happened)


def _second(lab: Lab, job: str, folder: Path, other_log: bool) -> Ended:
    made = lab.jobs[job]
    started = replace(made, log=f"{made.log}.second") if other_log else made
    with Running(started, folder, lab.tree) as running:
        return running.end()
