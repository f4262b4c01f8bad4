"""What a training that has diverged tells the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astarpo.common.errors import InputError


def job_name(folder: Path) -> str:
    """The run and the seed of a folder ``.../<run>/seed-<seed>/<origin>/world-<size>``, for messages and trackers."""
    run, seed = folder.absolute().parts[-4:-2]
    return f"{run} {seed}"


@contextmanager
def divergence_explained(step: int, scratch: Path) -> Iterator[None]:
    """Turn a FloatingPointError into a message for the user.

    Args:
        step: the current step; 0 before the first.
        scratch: the folder of the checkpoints.

    Raises:
        InputError: the block raised FloatingPointError.
    """
    from astarpo.model import checkpoints  # needs torch, which the configuration, which reads this file, must not need

    try:
        yield
    except FloatingPointError as error:
        if step == 0:
            raise InputError(f"before the first step: {error}; the reference's weights are unusable") from error
        newest = checkpoints.newest_folder(scratch)
        kept = (
            "there is no checkpoint of an earlier step" if newest is None else f"the last good checkpoint is {newest}"
        )
        raise InputError(
            f"the training of {job_name(scratch)} diverged at step {step}: {error}. The same settings "
            f"would diverge again: lower lr or max_grad_norm, or lengthen lr_warmup_steps; {kept}"
        ) from error
