"""Bytes that torch has allocated on the CPU, over the phases of some work: its own count, by its profiler.

torch reports every allocation and release of its CPU allocator, also those inside its operations, so the numbers are
exact and the same on every machine. Weights are traced if transformers converts them in this thread (see
`TRACED_LOADING`); those that it maps from files are not.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Set before a model is loaded: transformers then reads weights in the thread that asks for them.
TRACED_LOADING = {"HF_DEACTIVATE_ASYNC_LOAD": "1"}
MARK = "phase: "
RELEASED_WITHIN_S = 0.005


class Allocations:
    """The highest number of allocated bytes in each phase, after `tracing` has ended."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}

    @contextmanager
    def tracing(self) -> Iterator[Callable[[str], object]]:
        """Trace the block, which gets a function: ``with phase("update"): ...`` names a part of it."""
        from torch.profiler import ProfilerActivity, profile, record_function

        with _patient_waiting(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as traced:
            yield lambda name: record_function(f"{MARK}{name}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            traced.export_chrome_trace(str(path))
            events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
        self._read(events)

    def _read(self, events: list[dict[str, object]]) -> None:
        """Phases of the same name count as one; what is allocated before a phase begins counts in it."""
        sizes = sorted((one["ts"], one["args"]["Total Allocated"]) for one in events if one.get("name") == "[memory]")
        phases = [one for one in events if str(one.get("name", "")).startswith(MARK) and one.get("ph") == "X"]
        for phase in phases:
            start, end = phase["ts"], phase["ts"] + phase["dur"]
            before = [size for at, size in sizes if at < start][-1:]
            inside = [size for at, size in sizes if start <= at <= end]
            name = str(phase["name"]).removeprefix(MARK)
            self.peaks[name] = max([self.peaks.get(name, 0), *before, *inside])


@contextmanager
def _patient_waiting() -> Iterator[None]:
    """Within the block, wait a little longer for every collective operation.

    torch does not count what other threads release. The thread that carried out an operation releases its tensors just
    after it has said that they are ready; if this thread released them first, the other would be the last one, unseen.
    """
    from torch.distributed import Work

    wait = Work.wait

    def wait_longer(work: Work, *arguments: Any, **named: Any) -> bool:
        done: bool = wait(work, *arguments, **named)
        time.sleep(RELEASED_WITHIN_S)
        return done

    Work.wait = wait_longer
    try:
        yield
    finally:
        Work.wait = wait
