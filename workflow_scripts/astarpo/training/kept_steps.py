"""The weights after chosen steps, for `keep: {steps: [...]}`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from astarpo.common.errors import InputError
from astarpo.common.files import sha256
from astarpo.common.writing import check_space, new_file
from astarpo.model.finite import check_weights
from astarpo.training.engine import TorchEngine

FOLDER = "kept"


class KeptSteps:
    """Files beside the checkpoints, one for each step that is kept.

    They are not part of the checkpoints, as each checkpoint would then hold all of them. A checkpoint has their
    checksums instead: it is of no use without the files of the steps before it.

    Args:
        steps: whose weights to keep, in ascending order.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        self.steps = steps
        self.checksums: dict[int, str] = {}

    def update(self, step: int, engine: TorchEngine, scratch: Path) -> None:
        """Write the weights if the step is one to keep; every process must call this, before the step's checkpoint.

        Args:
            step: the last one.
            engine: with its weights.
            scratch: the folder of the checkpoints.

        Raises:
            FloatingPointError: the weights are not finite.
            InputError: the disk is full or not writable.
        """
        if step not in self.steps:
            return
        weights = engine.full_weights()
        check_weights(weights)
        if engine.world.is_first:
            path = path_of(scratch, step)
            check_space(path, sum(map(_bytes, weights.values())), f"the weights of step {step}")
            with new_file(path) as partial, partial.open("wb") as stream:
                torch.save(weights, stream)
                stream.flush()
                os.fsync(stream.fileno())
            self.checksums[step] = sha256(path)

    def state(self) -> dict[int, str]:
        """Return the checksums by step, for a checkpoint."""
        return dict(self.checksums)

    def load_state(self, state: Mapping[int, str], scratch: Path, is_first: bool = True) -> None:
        """Take over the files of the steps before a checkpoint; the first process, which writes them, verifies them.

        Raises:
            InputError: a file is missing or has changed.
        """
        for step, checksum in state.items() if is_first else ():
            path = path_of(scratch, step)
            if not path.is_file() or sha256(path) != checksum:
                raise InputError(
                    f"{path}: the weights that `keep.steps` asks for are missing or have changed, and the checkpoints "
                    f"are of later steps; delete {scratch} and run the same command again to train from the start"
                )
        self.checksums = dict(state)

    def files(self, scratch: Path) -> dict[int, Path | None]:
        """Find the file of each step; None for a step that the training did not reach."""
        return {step: path_of(scratch, step) if step in self.checksums else None for step in self.steps}


def path_of(scratch: Path, step: int) -> Path:
    """The file of a step's weights."""
    return scratch / FOLDER / f"step-{step:06d}.pt"


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read whole weights by name, on the CPU; tied ones stay tied."""
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()
