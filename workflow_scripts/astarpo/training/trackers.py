"""Trackers that display a training: TensorBoard, Weights & Biases. They do not affect numbers."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from astarpo.common.errors import InputError
from astarpo.common.writing import writing
from astarpo.training.stopping import job_name

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


class Tracker(Protocol):
    """Displays a training's metrics."""

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Log the metrics of a step, except those that are None."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


def check_installed(names: Sequence[str]) -> None:
    """Refuse trackers whose package is missing, before any other work.

    Raises:
        InputError: naming the package and the command that installs it.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise InputError(
                f"machine.trackers names {name!r}, but its package is not installed: "
                f"pip install {PACKAGES[name]}, or remove the tracker"
            )


def check_in_environment(names: Sequence[str], environment: str | Path) -> None:
    """Refuse trackers that a conda environment does not install, before any job starts.

    Args:
        names: keys of `PACKAGES`.
        environment: the environment's YAML file.

    Raises:
        InputError: naming the package and the file.
    """
    text = Path(environment).read_text(encoding="utf-8")
    for name in names:
        if not re.search(rf"^\s*- *{PACKAGES[name]}\b(?!-)", text, re.MULTILINE):
            raise InputError(
                f"machine.trackers names {name!r}, but {environment} does not install its package: add "
                f"{PACKAGES[name]} to the pins in envs/pins/ and to the environment in envs/generate.py and run it, "
                "or remove the tracker"
            )


@contextmanager
def followers(
    names: Sequence[str],
    scratch: Path,
    first_step: int,
    earlier: Sequence[Mapping[str, float | None]],
    is_first: bool = True,
) -> Iterator[Callable[[Mapping[str, float | None]], None]]:
    """Open a run's ``metrics.jsonl`` and trackers, whether it is new or resumed.

    Args:
        names: keys of `PACKAGES`.
        scratch: the run's folder, ``.../{run}/seed-{n}/<fingerprint>/world-{n}``; trackers write there.
        first_step: the next step; what an earlier process logged from there on is discarded.
        earlier: rows of the steps before.
        is_first: whether this process logs; one of a training does.

    Yields:
        A function that logs a step's row to all of them.
    """
    if not is_first:
        yield lambda _: None
        return
    makers: dict[str, Callable[[Path, int], Tracker]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
    }
    trackers: list[Tracker] = [JsonLines(scratch, earlier)]
    trackers += [makers[name](scratch, first_step) for name in names]
    try:
        yield partial(_show, trackers)
    finally:
        for tracker in trackers:
            tracker.close()


def _show(trackers: Sequence[Tracker], row: Mapping[str, float | None]) -> None:
    for tracker in trackers:
        tracker.log(int(row["step"] or 0), row)


class JsonLines:
    """``metrics.jsonl``, one line per step, flushed each time, for `make watch` and other readers."""

    def __init__(self, scratch: Path, earlier: Sequence[Mapping[str, float | None]]) -> None:
        self._path = scratch / "metrics.jsonl"
        with writing(self._path):
            self._stream = self._path.open("w", encoding="utf-8")
        for row in earlier:
            self.log(int(row["step"] or 0), row)

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Add a line."""
        with writing(self._path):
            self._stream.write(json.dumps(metrics) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class TensorBoard:
    """Event files in ``tensorboard/`` of the run's scratch folder: ``tensorboard --logdir results/checkpoints``."""

    def __init__(self, scratch: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(scratch / "tensorboard"), purge_step=first_step)

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Add one point to the curve of each metric."""
        for name, value in metrics.items():
            if value is not None and name != "step":
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, named after run and seed; resumed under the same id after a stop."""

    def __init__(self, scratch: Path, first_step: int) -> None:
        wandb: Any = importlib.import_module("wandb")  # optional, so not in any environment's pins
        name = job_name(scratch)
        self._run: Any = wandb.init(
            project="astarpo",
            name=name,
            id=f"{name.replace(' ', '-')}-{scratch.parent.name}",
            resume="allow",
            dir=str(scratch),
        )

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Log a step; the service rejects steps that were logged before."""
        known = {name: value for name, value in metrics.items() if value is not None}
        self._run.log(known, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
