"""Displays of the stages: plain lines, or a terminal whose last lines are redrawn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TextIO

from snakemake_logger_plugin_stages.stages import Stages, duration

if TYPE_CHECKING:
    from rich.console import Group

FIRST_REPORT_S = 60.0
REPORTS_EACH = 0.25  # of the elapsed time, so that a training of a day does not fill the log


class Lines:
    """Print each message as a line, and from time to time the progress of running jobs.

    Args:
        stages: the run to follow.
        stream: where to print.
        first_report_s: seconds until the running jobs are first listed; None: never.
    """

    def __init__(self, stages: Stages, stream: TextIO, first_report_s: float | None = FIRST_REPORT_S) -> None:
        self._stages, self._stream = stages, stream
        self._first_report_s = first_report_s or 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)
        if first_report_s is not None:
            self._thread.start()

    def show(self, text: str) -> None:
        """Print a message."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Stop printing reports."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _report(self) -> None:
        while not self._closed.wait(self._pause()):
            for line in self._stages.running():
                self.show(f"  {line}")

    def _pause(self) -> float:
        return max(self._first_report_s, REPORTS_EACH * self._stages.seconds())


class TerminalDisplay:
    """Print each message above a bar for all jobs and a line for each running one.

    Args:
        stages: the run to follow.
        stream: the terminal.
    """

    def __init__(self, stages: Stages, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._stages = stages
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            get_renderable=self._render, console=self._console, refresh_per_second=2, transient=True, screen=False
        )
        self._live.start()

    def show(self, text: str) -> None:
        """Print a message above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar but keep the messages."""
        self._live.stop()

    def _render(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        done, planned = self._stages.counts
        if not planned:
            return Group()
        bar = Table.grid(padding=(0, 1))
        passed = duration(self._stages.seconds())
        bar.add_row(ProgressBar(total=planned, completed=done, width=40), f"{done} of {planned} jobs, {passed}")
        lines = [Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in self._stages.running()]
        return Group(bar, *lines)
