"""How a training ends before its last step: on request, or because it has diverged."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from astarpo.common.errors import InputError

# A cluster's walltime, or a Snakemake that is told to stop; Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Let the loop ask after each step whether it has been told to stop: half a step cannot be saved."""
    received = []
    before = {number: signal.signal(number, lambda *_: received.append(True)) for number in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def divergence_explained(step: int, scratch: Path) -> Iterator[None]:
    """Turn a number that is not finite into a message for the user.

    Args:
        step: that is being made.
        scratch: the folder of the checkpoints.

    Raises:
        InputError: the block raised FloatingPointError.
    """
    try:
        yield
    except FloatingPointError as error:
        raise InputError(
            f"the training diverged at step {step}: {error}. Lower lr or max_grad_norm, or lengthen lr_warmup_steps; "
            f"the checkpoints of the steps before are in {scratch}"
        ) from error
