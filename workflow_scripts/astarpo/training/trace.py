"""A trace of a few steps by torch's profiler, for Perfetto and Chrome (chrome://tracing)."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from torch.profiler import profile, record_function

from astarpo.common.writing import new_file

LARGE_BYTES = 10_000_000  # of a trace, from which on it is compressed


class Trace:
    """Records the steps of a training from the first to the last one, and writes them to a file.

    Args:
        steps: the first and the last step; None: no trace.
        folder: where to write ``trace-steps-{first}-{last}.json``, or ``.json.gz`` if it is large.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        self.steps, self.folder = steps, folder
        self._profile: profile | None = None
        self._recorded: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was recorded if the training ends, or is stopped, before the last step."""
        self._write()

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Make the block a range ``step {step}`` of the trace, if it is one of the steps."""
        if self.steps is not None and self.steps[0] <= step <= self.steps[1] and self._profile is None:
            self._profile = profile()  # of the CPU, and of the GPU if there is one
            self._profile.start()
        with record_function(f"step {step}"):
            yield
        if self._profile is not None:
            self._recorded.append(step)
            if self.steps is not None and step == self.steps[1]:
                self._write()

    def _write(self) -> None:
        recorder, self._profile = self._profile, None
        if recorder is None:
            return
        recorder.stop()
        if not self._recorded:
            return
        path = self.folder / f"trace-steps-{self._recorded[0]}-{self._recorded[-1]}.json"
        with new_file(path) as partial:
            recorder.export_chrome_trace(str(partial))
        if path.stat().st_size > LARGE_BYTES:
            path = _compressed(path)
        print(f"trace of the profiler: {path}", flush=True)


def _compressed(path: Path) -> Path:
    with new_file(f"{path}.gz") as partial, path.open("rb") as plain, gzip.open(partial, "wb", 1) as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()
    return Path(f"{path}.gz")
