"""What a training that has diverged tells the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astarpo.common.errors import InputError


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
