"""Tables of responses, and drawing those of other jobs as well, so that one start of an engine serves several jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from astarpo.common.columns import GENERATIONS
from astarpo.common.errors import InputError, Interrupted
from astarpo.common.files import table_metadata
from astarpo.common.locks import if_free, waiting
from astarpo.common.origins import origin_of
from astarpo.common.parts import Parts
from astarpo.common.provenance import Provenance, provenance
from astarpo.common.stopping import stopped_by_signals
from astarpo.sampling.engines import OneStart
from astarpo.sampling.stage import GenerationRow, kept_responses

LOCKS = Path("results/.locks/drawing")
# A job begins no table of others when it has run this long, or its own time limit would not hold.
AHEAD_S = 1800.0


@dataclass(frozen=True)
class ResponseTable:
    """The responses of one job.

    Attributes:
        script: that makes the table; its file.
        settings: the settings JSON as received.
        inputs: name -> file.
        out: the table.
        scratch: folder of finished responses, until all are.
        draw: draws the rows that ``Parts`` lacks, with an engine that may run already.
    """

    script: str
    settings: str
    inputs: Mapping[str, str]
    out: str
    scratch: str
    draw: Callable[[Parts, OneStart], list[GenerationRow]]

    @cached_property
    def made_from(self) -> Provenance:
        """The table's provenance."""
        return provenance(self.script, self.settings, self.inputs)

    def is_needed(self) -> bool:
        """Whether its inputs exist, and no table made from the same."""
        if not all(Path(path).exists() for path in self.inputs.values()):
            return False
        try:
            return origin_of(table_metadata(self.out)["provenance"]) != origin_of(self.made_from)
        except (InputError, KeyError, OSError):  # there is none, or a damaged one
            return True

    def rows(self, start: OneStart) -> tuple[list[GenerationRow], Parts]:
        """Draw what is missing; return all rows, and where they are kept until the table is written."""
        parts = Parts(self.scratch, self.made_from, GENERATIONS)
        with stopped_by_signals(lambda: kept_responses(parts.rows)), parts:
            return self.draw(parts, start), parts


@contextmanager
def claimed(table: ResponseTable, others: Iterable[ResponseTable]) -> Iterator[None]:
    """Hold a table for a block, if other jobs might draw it; wait until such a job has finished it."""
    if not list(others):
        yield
        return
    with waiting(_lock(table), "another job is drawing these responses with an engine that runs already"):
        yield


def draw_ahead(others: Iterable[ResponseTable], start: OneStart, began_s: float) -> None:
    """Draw responses of jobs that have not started, if the engine runs; these jobs will find them finished.

    What cannot be drawn is left to its own job, which then says why. It must not fail this job, whose table is written.

    Args:
        others: tables of jobs that would start the same engine.
        start: the engine of this job.
        began_s: when this job began, by `time.monotonic`.
    """
    for table in others if start.has_started else ():
        if time.monotonic() - began_s > AHEAD_S:
            return
        with if_free(_lock(table)) as is_free:
            try:
                if is_free and table.is_needed():
                    print(f"{table.out}: drawn here as well, as the engine runs", flush=True)
                    table.rows(start)
            except Interrupted:
                raise
            except Exception as error:
                print(f"{table.out}: not drawn here: {error}", flush=True)


def _lock(table: ResponseTable) -> Path:
    return LOCKS / f"{table.scratch.lstrip('/')}.lock"
