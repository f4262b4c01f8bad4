"""The planned, running and finished jobs of each stage, and their description."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.job_logs import describe_failure, job_progress

STAGE_WIDTH = 24  # characters of a stage's name
MOST_JOBS_SHOWN = 8


@dataclass(frozen=True)
class Job:
    """A running job.

    Attributes:
        stage: the name of its rule.
        wildcards: their values.
        log: its log file, if it has one.
        started: seconds since the epoch.
    """

    stage: str
    wildcards: tuple[str, ...]
    log: Path | None
    started: float

    @property
    def name(self) -> str:
        """The stage and the wildcards' values, as in ``train_policy a-star-po 0``."""
        return " ".join([self.stage, *self.wildcards])


class Stages:
    """Follow the jobs of one run of Snakemake.

    Args:
        now: a clock, in seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._planned: dict[str, int] = {}
        self._finished: dict[str, int] = {}
        self._first_start: dict[str, float] = {}
        self._running: dict[int, Job] = {}
        self._created = now()

    def expect(self, jobs_by_stage: Mapping[str, int]) -> None:
        """Note how many jobs each stage will run; targets such as ``all`` are not stages and must be left out."""
        self._planned = dict(jobs_by_stage)

    def start(self, job_id: int, stage: str, wildcards: Sequence[str], logs: Sequence[str]) -> None:
        """Note that a job has started."""
        started = self._now()
        self._first_start.setdefault(stage, started)
        self._running[job_id] = Job(stage, tuple(wildcards), Path(logs[0]) if logs else None, started)

    def finish(self, job_id: int) -> str | None:
        """Note that a job has finished.

        Returns:
            The stage's line if that was its last job.
        """
        job = self._running.pop(job_id, None)
        if job is None:
            return None
        done = self._finished[job.stage] = self._finished.get(job.stage, 0) + 1
        if done < self._planned.get(job.stage, 1):
            return None
        took = duration(self._now() - self._first_start[job.stage])
        jobs = "1 job" if done == 1 else f"{done} jobs"
        return f"{job.stage:<{STAGE_WIDTH}}  {jobs:>9}  {took:>8}  {self.total()}"

    def fail(self, job_id: int, stage: str, logs: Sequence[str]) -> str:
        """Note that a job has failed.

        Returns:
            One line: which job, why, and where its log is.
        """
        job = self._running.pop(job_id, None)
        return describe_failure(job.name if job else stage, logs)

    def total(self) -> str:
        """The number of finished jobs, as in ``[12 of 49 jobs]``."""
        return f"[{sum(self._finished.values())} of {sum(self._planned.values())} jobs]"

    def seconds(self) -> float:
        """Seconds since this object was created."""
        return self._now() - self._created

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of finished and planned jobs."""
        return sum(self._finished.values()), sum(self._planned.values())

    def running(self) -> list[str]:
        """One line per running job: its name, and its progress if its log shows it."""
        lines = [self._describe(job) for job in list(self._running.values())]
        hidden = len(lines) - MOST_JOBS_SHOWN
        return lines if hidden <= 0 else [*lines[:MOST_JOBS_SHOWN], f"... and {hidden} more jobs"]

    def _describe(self, job: Job) -> str:
        now = self._now()
        progress = job_progress(job.log) if job.log else None
        if progress is None or progress.written < job.started:  # the log of an earlier attempt
            return f"{job.name}: running for {duration(now - job.started)}"
        numbers = "".join(f", {name} {value}" for name, value in progress.numbers.items())
        left = duration(max(progress.seconds_left - (now - progress.written), 0))
        return f"{job.name}: {progress.done} of {progress.total} {progress.unit}{numbers}, {left} left"


def duration(seconds: float) -> str:
    """Write a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
