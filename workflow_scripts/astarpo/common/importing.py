"""Importing large packages."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no garbage in this block, and never look through what it has made: modules stay until the process ends.

    Of the CPU time that torch and transformers take to load, an eighth is spent on looking for garbage.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
