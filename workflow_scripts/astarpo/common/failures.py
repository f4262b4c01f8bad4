"""Failures that would only repeat themselves: the next attempts of the same start end at once with the same message.

Snakemake tries a job that downloads again, whatever it failed for, and work after the download may be long.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astarpo.common.errors import InputError, Interrupted
from astarpo.common.files import read_json_object, write_json

FILE = "failure.json"


def recall(folder: Path | None, attempt: int) -> None:
    """End a further attempt with the message that an earlier one left; a first attempt forgets what was left.

    Args:
        folder: of the job's unfinished work; None: there is none.
        attempt: of Snakemake, from 1.

    Raises:
        InputError: with the earlier message.
    """
    path = None if folder is None else folder / FILE
    if path is None or not path.exists():
        return
    if attempt == 1:
        path.unlink()
        return
    failure = read_json_object(path)
    print(f"attempt {attempt}: not made, as it would fail as the one before\n{failure['trace']}", end="", flush=True)
    raise InputError(failure["message"])


@contextmanager
def remembered(folder: Path | None) -> Iterator[None]:
    """Leave a message for `recall` if the block fails; to be stopped by a signal is no failure."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if folder is not None:
            is_known = isinstance(error, InputError)
            message = str(error) if is_known else f"{type(error).__name__}: {error}"
            with suppress(InputError):  # of a full disk
                write_json(folder / FILE, {"message": message, "trace": "" if is_known else traceback.format_exc()})
        raise
