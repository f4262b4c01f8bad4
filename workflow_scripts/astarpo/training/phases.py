"""The phases of a step: how long they take, and ranges of a profiler's trace."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.profiler import record_function


class PhaseClock:
    """Accumulates wall-clock seconds by phase.

    Attributes:
        seconds: by phase.
        waited: seconds of phases in which this process computed nothing with a model.
        passes: forward passes over all rows to train on, by phase; those of a critic under ``critic``.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.waited = 0.0
        self.passes: Counter[str] = Counter()

    @contextmanager
    def phase(self, name: str, waits: bool = False) -> Iterator[None]:
        """Add the time of the block to a phase.

        Args:
            name: of the phase.
            waits: whether no model computes in the block, so that the device is idle.
        """
        started = time.perf_counter()
        try:
            with record_function(name):
                yield
                wait_for_device()
        finally:
            seconds = time.perf_counter() - started
            self.seconds[name] += seconds
            self.waited += seconds if waits else 0.0


def wait_for_device() -> None:
    """Wait for what is queued on a GPU: otherwise the next phase would be charged with it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
