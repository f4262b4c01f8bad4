"""Progress of long work: a bar on the terminal, plain lines in the log, or both."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

# File descriptor for bars; set by launch.py, which redirects stdout and stderr to the log. Empty: no bars.
TERMINAL_FD = "ASTARPO_TERMINAL_FD"
SECONDS_BETWEEN_LINES = 10.0


def _terminal() -> TextIO | None:
    number = os.environ.get(TERMINAL_FD)
    if number is not None:
        try:
            return os.fdopen(os.dup(int(number)), "w")
        except (OSError, ValueError):
            return None
    return sys.stderr if sys.stderr.isatty() else None


class Progress:
    """Count finished items of ``total`` and show them; use as a context manager.

    Args:
        title: description of the work, shown before the numbers.
        total: how many items there are.
        unit: name of the items, in the plural.
        done: items finished earlier (a resumed run).
        lines: stream for plain lines; None is stdout, which is the log of a stage.
    """

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "items",
        done: int = 0,
        lines: TextIO | None = None,
    ) -> None:
        self._lines = lines
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._started, self._last_line, self._first_done = time.monotonic(), 0.0, done
        self._bar = self._make_bar()

    def _make_bar(self) -> tqdm | None:
        terminal = _terminal()
        if terminal is None:
            return None
        from tqdm import tqdm

        columns = os.get_terminal_size(terminal.fileno()).columns or 80  # some terminals do not report it
        return tqdm(
            desc=self.title,
            total=self.total,
            initial=self.done,
            unit=f" {self.unit}",
            file=terminal,
            leave=False,
            ncols=columns,
        )

    def advance(self, count: int = 1, **numbers: float) -> None:
        """Count ``count`` more finished items, and show numbers beside them."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.3g}" for name, value in numbers.items()}, refresh=False)
            self._bar.update(count)
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES or self.done >= self.total:
            self._last_line = now
            self._print_line(now - self._started, numbers)

    def _print_line(self, seconds: float, numbers: dict[str, float]) -> None:
        if self._bar is not None and TERMINAL_FD not in os.environ:
            return  # stdout is the same terminal: the bar is enough
        rate = (self.done - self._first_done) / max(seconds, 1e-9)
        left = (self.total - self.done) / rate if rate > 0 else 0.0
        shown = "".join(f"  {name} {value:.4g}" for name, value in numbers.items())
        print(
            f"{self.title}: {self.done}/{self.total} {self.unit}, {rate:.3g} a second, {left:.0f} s left{shown}",
            file=self._lines or sys.stdout,
            flush=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
