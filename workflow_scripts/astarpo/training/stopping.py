"""How a training ends before its last step: on a signal, or because it has diverged."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from astarpo.common.errors import InputError

# From a cluster's time limit or from Snakemake; from Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Record signals for the loop to check after each step, because half a step cannot be saved."""
    received = []
    previous = {number: signal.signal(number, lambda *_: received.append(True)) for number in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def divergence_explained(step: int, scratch: Path) -> Iterator[None]:
    """Turn a FloatingPointError into a message for the user.

    Args:
        step: the current step; 0 before the first.
        scratch: the folder of the checkpoints.

    Raises:
        InputError: the block raised FloatingPointError.
    """
    try:
        yield
    except FloatingPointError as error:
        if step == 0:
            raise InputError(f"before the first step: {error}; the reference's weights are unusable") from error
        raise InputError(
            f"the training diverged at step {step}: {error}. Lower lr or max_grad_norm, or lengthen lr_warmup_steps; "
            f"checkpoints of earlier steps are in {scratch}"
        ) from error
