"""Reading a job's log: its progress, and why it failed."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.writing import WAYS_OUT, free_space

# As `Progress` prints them.
PROGRESS_LINE = re.compile(
    r"^[^\n]+?: (?P<done>\d+)/(?P<total>\d+) (?P<unit>\w+), [^ ]+ a second, (?P<left>\d+) s left(?P<numbers>.*)$",
    re.MULTILINE,
)
# As `cli.run` prints them, and as Python ends a traceback.
REASON_LINES = (
    re.compile(r"^(?:error|stopped): (.+)$", re.MULTILINE),
    re.compile(r"^(\w[\w.]*(?:Error|Exception|Interrupt|Exit)\b.*)$", re.MULTILINE),
)
TAIL_BYTES = 65_536
LEAST_FREE = 1 << 20  # bytes; a disk with less counts as full


@dataclass(frozen=True)
class JobProgress:
    """The newest progress line of a job's log.

    Attributes:
        done, total, unit: how many items of how many.
        seconds_left: as estimated when the line was written.
        numbers: further numbers on the line, such as the reward.
        written: when the log last changed, in seconds since the epoch.
    """

    done: int
    total: int
    unit: str
    seconds_left: float
    numbers: dict[str, str]
    written: float


def job_progress(log: Path) -> JobProgress | None:
    """Read the progress of a job.

    Args:
        log: the job's log file.

    Returns:
        The newest progress, or None if the log does not exist or has no such line.
    """
    try:
        written = log.stat().st_mtime
        matches = list(PROGRESS_LINE.finditer(_tail(log)))
    except OSError:
        return None
    if not matches:
        return None
    line = matches[-1]
    words = line["numbers"].split()
    numbers = dict(zip(words[::2], words[1::2], strict=False))
    return JobProgress(int(line["done"]), int(line["total"]), line["unit"], float(line["left"]), numbers, written)


def failure_reason(log: Path) -> str:
    """Find the one line that says why a job failed.

    Args:
        log: the job's log file.

    Returns:
        What follows the last ``error:`` or ``stopped:``; otherwise the last exception that a traceback names;
        otherwise the last line. A log without lines is described instead, and a full disk, which would explain that.
    """
    try:
        text = _tail(log)
    except OSError:
        text = None
    if not (text and text.strip()) and free_space(log) < LEAST_FREE:
        return f"the disk of {log.parent} is full; {WAYS_OUT[errno.ENOSPC]}"
    if text is None:
        return "no log was written"
    for pattern in REASON_LINES:
        matches = pattern.findall(text)
        if matches:
            return str(matches[-1]).strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "the log is empty; the process may have been killed, for example for lack of memory"
    return lines[-1].strip()


def describe_failure(name: str, logs: Sequence[str]) -> str:
    """Describe a failed job in one line.

    Args:
        name: the job's rule and the values of its wildcards.
        logs: its log files.
    """
    if not logs:
        return f"{name} failed; it has no log"
    return f"{name} failed: {failure_reason(Path(logs[0]))} (log: {', '.join(logs)})"


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")
