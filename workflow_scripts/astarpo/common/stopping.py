"""Signals that ask a job to stop: long work keeps what is finished, and the same command continues it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from astarpo.common.errors import Interrupted

# From a cluster's time limit or from Snakemake; from Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECONDS_OF_ONE_REQUEST = 1.0


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Record signals for the loop to check after each step, because half a step cannot be saved."""
    received = []
    with _handled(lambda: received.append(True)):
        yield lambda: bool(received)


@contextmanager
def stopped_by_signals(kept: Callable[[], str]) -> Iterator[None]:
    """Stop the block at the first signal, wherever it is.

    Args:
        kept: called once the block has ended; says what is kept and how to go on.

    Raises:
        Interrupted: a signal arrived, and the block did not finish.
    """
    received: list[float] = []

    def stop() -> None:
        # Ctrl-C and Snakemake's own signal arrive together, and the first must be left to write what is finished.
        if not received or time.monotonic() - received[-1] > SECONDS_OF_ONE_REQUEST:
            received.append(time.monotonic())
            raise KeyboardInterrupt

    with _handled(stop):
        try:
            yield
        except KeyboardInterrupt as error:
            raise Interrupted(kept()) from error


@contextmanager
def _handled(action: Callable[[], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, lambda *_: action()) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
