"""SIGKILL at a call that changes files, or at any other moment; then the same command again."""

from __future__ import annotations

import importlib.util
import random
import re
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from faults.cases import (
    ANSWERS,
    CONTAMINATION,
    DATASET,
    GRADES,
    GRADING,
    PAGE,
    REFERENCE,
    ROLLOUTS,
    SAME,
    SAMPLING,
    SELECTION,
    TABLES,
    TRAININGS,
    VALUES,
    Case,
    Outcome,
    finished_well,
    resumed,
)
from faults.lab import Lab
from faults.processes import Moment

AT_CHANGES = 9  # of each method's training
AT_TIMES = 3
DEEPSPEED = "train_policy deepspeed 0"
OTHERS = {
    DATASET: 3,
    CONTAMINATION: 2,
    REFERENCE: 6,
    SAMPLING: 6,
    ANSWERS: 6,
    GRADING: 3,
    GRADES: 2,
    SELECTION: 2,
    VALUES: 2,
    TABLES: 4,
    PAGE: 2,
    ROLLOUTS: 2,
}


def cases(seed: int) -> Iterator[Case]:
    """Kills of every stage, of trainings by method; the moments are drawn with the seed."""
    for method, job in TRAININGS.items():
        draw = random.Random(f"{seed} {method}")
        for share in _spread(draw, AT_CHANGES):
            yield _at_change(f"train {method} (torch)", job, [share])
        for _ in range(AT_TIMES):
            yield _at_time(f"train {method} (torch)", job, draw.uniform(0.3, 1.0))
        yield _at_change(f"train {method} (torch)", job, sorted(draw.uniform(0.3, 1.0) for _ in range(3)))
    yield from _with_deepspeed(seed)
    for job, count in OTHERS.items():
        draw = random.Random(f"{seed} {job}")
        for share in _spread(draw, count):
            yield _at_change(job, job, [share])
        for _ in range(2):
            yield _at_time(job, job, draw.uniform(0.2, 1.0))


def _with_deepspeed(seed: int) -> Iterator[Case]:
    """The same with the other engine, in the environment that has it: `make test-deepspeed`."""
    stage, draw = "train a-star-po (deepspeed)", random.Random(f"{seed} deepspeed")
    if importlib.util.find_spec("deepspeed") is None:
        missing = Outcome("not installed here: .venv-engines/bin/python tests/faults --only deepspeed", good=None)
        yield Case("SIGKILL", stage, "", SAME, lambda _: missing)
        return
    for share in _spread(draw, AT_CHANGES):
        yield _at_change(stage, DEEPSPEED, [share])
    for _ in range(AT_TIMES):
        yield _at_time(stage, DEEPSPEED, draw.uniform(0.3, 1.0))


def _spread(draw: random.Random, count: int) -> list[float]:
    """One random place in each of ``count`` equal parts of [0, 1]."""
    return [(part + draw.random()) / count for part in range(count)]


def _at_change(stage: str, job: str, shares: Sequence[float]) -> Case:
    moment = "at change " + ", ".join(f"{share:.0%}" for share in shares)
    return Case("SIGKILL", stage, moment, SAME, partial(killed_at_changes, job=job, shares=tuple(shares)), (job,))


def _at_time(stage: str, job: str, share: float) -> Case:
    return Case("SIGKILL", stage, f"at time {share:.0%}", SAME, partial(killed_at_time, job=job, share=share), (job,))


def killed_at_changes(lab: Lab, job: str, shares: Sequence[float]) -> Outcome:
    """Kill a job before a call that changes files, its second start before a later one, and so on; then let it end."""
    happened = []
    with lab.project(job) as folder:
        for share in shares:
            ended = lab.run(job, folder, Moment(change=lab.change_at(job, share)))
            if ended.status == -signal.SIGKILL:
                happened.append(f"killed before {short(ended.changes[-1])}")
        return _then(lab, job, folder, "; ".join(happened) or "ended before its moment")


def killed_at_time(lab: Lab, job: str, share: float) -> Outcome:
    """Kill a job after a share of the time that it takes when nothing disturbs it; then let it end."""
    with lab.project(job) as folder:
        with lab.start(job, folder) as running:
            time.sleep(share * lab.ended[job].seconds)
        killed = running.status == -signal.SIGKILL
        return _then(lab, job, folder, f"killed at {share:.0%}" if killed else "ended before its moment")


def _then(lab: Lab, job: str, folder: Path, happened: str) -> Outcome:
    """Start a killed job again: it must go on from what is finished, and end as ever."""
    finished = what_is_finished(folder, lab.jobs[job].scratch)
    ended = lab.run(job, folder)
    if finished is not None and resumed(ended) != finished:
        return Outcome(f"{happened}, when it could have {finished}, but it {resumed(ended)}", good=False)
    return finished_well(lab, job, folder, ended, happened)


def what_is_finished(folder: Path, scratch: str | None) -> str | None:
    """What a killed job left in its scratch folder, in the words of `resumed`; None: nothing."""
    root = folder / (scratch or "there is none")
    if any(root.rglob("finished")):
        return "had finished"
    names = [match for path in root.rglob("sha256.json") if (match := re.fullmatch(r"step-(\d+)", path.parent.name))]
    if names:
        return f"resumed from step {max(int(match[1]) for match in names)}"
    rows = sum(pq.read_metadata(path).num_rows for path in root.rglob("part-*.parquet"))
    return f"kept {rows} responses" if rows else None


def short(call: str) -> str:
    """A call with only the end of its path."""
    return f"{call.split()[0]} .../{'/'.join(call.split()[-1].split('/')[-2:])}"
