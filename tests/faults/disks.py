"""A disk that is full: a small tmpfs, filled up to some kilobytes less than a stage writes."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from faults.cases import (
    ANSWERS,
    GRADING,
    REFERENCE,
    SAMPLING,
    TABLES,
    TRAINING,
    VALUES,
    Case,
    Outcome,
    finished_well,
    last_line,
    refusal_problem,
)
from faults.lab import Lab, digests

EXPECTED = "one line, exit status 1, inputs intact; with space again, the same outputs"
STAGES = {TRAINING: 5, REFERENCE: 3, SAMPLING: 3, ANSWERS: 2, GRADING: 2, VALUES: 1, TABLES: 2}
SIZE = 64 << 20
RESERVE = 3 * 4096  # for the log and two locks, without which there is nowhere to say anything


def cases(seed: int) -> Iterator[Case]:
    """Every stage that writes, with a random share of the space that it needs."""
    for job, count in STAGES.items():
        draw = random.Random(f"{seed} {job}")
        for part in range(count):
            share = (part + draw.random()) / count * 0.95
            yield Case(
                "disk full", job, f"{share:.0%} of the space", EXPECTED, partial(full, job=job, share=share), (job,)
            )


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Mount a tmpfs for a block; None where that is not permitted."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def full(lab: Lab, job: str, share: float) -> Outcome:
    """Run a job on a disk with a share of the space that it writes, and again with all of it."""
    made = lab.jobs[job]
    written = sum(_bytes(lab.base / path) for path in (*made.outputs, *filter(None, [made.scratch])))
    with small_disk() as disk:
        if disk is None:
            return Outcome("mounting a tmpfs is not permitted here", good=None)
        with lab.project(job, into=disk) as folder:
            inputs = digests(folder, lab.inputs(job))
            used = sum(_bytes(path) for path in disk.iterdir())
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(max(SIZE - used - RESERVE - int(share * written) // 4096 * 4096, 0)))
            ended = lab.run(job, folder)
            happened = f"exit status {ended.status}, {last_line(ended)!r}"
            problem = refusal_problem(ended) if ended.status != 0 else None
            intact = digests(folder, lab.inputs(job)) == inputs
            ballast.unlink()
            after = finished_well(lab, job, folder, lab.run(job, folder), happened)
    if problem is not None or not intact:
        return Outcome(f"{problem or 'inputs have changed'}; then: {after.happened}", good=False)
    return after


def _bytes(path: Path) -> int:
    """Space that a file or folder takes on a tmpfs, in bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in files)
