"""Finished rows of a table that is still being made: what a killed job has finished is not made again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from astarpo.common.files import read_table, sha256, table_metadata, write_table
from astarpo.common.origins import folder_of_origin, origin_of, remove_all, remove_older
from astarpo.common.provenance import Provenance

# Keeps many short batches from becoming as many files. A batch that takes longer is written when it ends.
SECONDS_BETWEEN_PARTS = 5.0


class Parts:
    """The finished rows of one job, in small parquet files named after their sha256; a context manager for the work.

    Args:
        scratch: the folder of the job; it has a subfolder for each origin, see `common.origins`.
        made_from: the provenance of the table.
        schema: the table's columns.

    Attributes:
        found: the rows that earlier processes finished.
        found_s: the seconds that they took.
        rows: number of rows in the files, found or new.
    """

    def __init__(self, scratch: str | Path, made_from: Provenance, schema: pa.Schema) -> None:
        self.scratch, self.schema = Path(scratch), schema
        self.folder = folder_of_origin(self.scratch, origin_of(made_from))
        remove_older(self.scratch, self.folder)
        self.found: list[dict[str, Any]] = []
        self.found_s = 0.0
        self._number = 0
        for path in sorted(self.folder.glob("part-*-*.parquet")):
            self._read(path)
        self.rows = len(self.found)
        self._waiting: list[Mapping[str, object]] = []
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.flush()

    def _read(self, path: Path) -> None:
        """Read the rows of a file; a damaged one is deleted, and the log says so."""
        _, number, digest = path.stem.split("-")
        if sha256(path)[: len(digest)] != digest:
            print(f"{path}: damaged, so its rows are made again", flush=True)
            path.unlink()
            return
        self.found += read_table(path, self.schema).to_pylist()
        self.found_s += table_metadata(path)["seconds"]
        self._number = int(number)

    def add(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Add finished rows: they are written at once, or together with later ones if it is too soon."""
        self._waiting += rows
        if time.monotonic() - self._since >= SECONDS_BETWEEN_PARTS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        if not self._waiting:
            return
        now = time.monotonic()
        written = self.folder / "unnamed.parquet"
        write_table(written, self._waiting, self.schema, {"seconds": now - self._since})
        # The checksums of parquet leave out the headers of pages, where a flipped bit may change the rows.
        digest = sha256(written)[:16]
        os.replace(written, self.folder / f"part-{self._number + 1:06d}-{digest}.parquet")
        self.rows += len(self._waiting)
        self._number, self._since, self._waiting = self._number + 1, now, []

    def remove(self) -> None:
        """Delete the rows, and what other origins left, once the table is in place."""
        remove_all(self.scratch)
