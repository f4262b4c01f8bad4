"""What the command-line scripts share: the --settings option and error messages without tracebacks."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn

from astarpo.common.errors import InputError, Interrupted, shortened
from astarpo.common.locks import inherited
from astarpo.common.writing import failure

EXIT_BAD_INPUT = 1
EXIT_KEYBOARD = 128 + signal.SIGINT  # as a shell has it
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: running the same command again continues
BY_KEYBOARD = "stopped: by Ctrl-C; run the same command again"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make an argument parser with ``--settings``, the option of every stage.

    Args:
        description: the script's docstring, shown by ``--help``.

    Returns:
        A parser; ``arguments.settings`` is the JSON text exactly as received, see `parse_settings`.
    """
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--settings", required=True, metavar="JSON", help="the stage's settings, one JSON object")
    return options


def add_page_options(parser: argparse.ArgumentParser, table: str) -> None:
    """Add the options of a script that writes a table, and pages of it: ``--plan`` and its three outputs.

    Args:
        parser: of the script.
        table: the rows of the CSV file, in words.
    """
    parser.add_argument("--plan", required=True, help="JSON: policies, evaluations, trainings and their files")
    parser.add_argument("--out-csv", required=True, help=f"CSV: {table}")
    parser.add_argument("--out-markdown", required=True, help="the main numbers as Markdown tables")
    parser.add_argument("--out-html", required=True, help="the same as a web page")


def parse_settings(text: str) -> dict[str, Any]:
    """Read a JSON object given on the command line.

    Raises:
        InputError: the text is not a JSON object.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--settings is not valid JSON ({error}): {shortened(text)}") from error
    if not isinstance(settings, dict):
        raise InputError(f"--settings must be a JSON object, but is: {text!r}")
    return settings


def parse_block(name: str) -> tuple[int, int]:
    """Read a block's name, ``s<sample block>-p<prompt shard>``.

    Raises:
        InputError: it is not a block name.
    """
    match = re.fullmatch(r"s(\d+)-p(\d+)", name)
    if match is None:
        raise InputError(f"--block {name!r}: must be s<sample block>-p<prompt shard>, for example s0-p0")
    return int(match.group(1)), int(match.group(2))


def numbered(name: str, paths: Sequence[str]) -> dict[str, str]:
    """Name the files of one option for the record of inputs: ``graded-0``, ``graded-1``, ..."""
    return {f"{name}-{index}": path for index, path in enumerate(paths)}


def one_or_numbered(name: str, paths: Sequence[str]) -> dict[str, str]:
    """Like `numbered`, but a single file keeps the plain name."""
    return {name: paths[0]} if len(paths) == 1 else numbered(name, paths)


def run(main: Callable[[], None]) -> None:
    """Run a script's ``main``; an `InputError`, and an error of the operating system, become a message and status 1."""
    try:
        with inherited():
            main()
    except InputError as error:
        _end(f"error: {error}", EXIT_BAD_INPUT)
    except Interrupted as error:
        _end(f"stopped: {error}", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        _end(BY_KEYBOARD, EXIT_KEYBOARD)
    except Exception as error:
        reason = failure(error)
        if reason is None:
            raise
        _end(f"error: {getattr(error, 'filename', None) or 'a file of this job'}: {reason}", EXIT_BAD_INPUT)


def _end(message: str, status: int) -> NoReturn:
    with suppress(OSError):  # of a log on a disk that is full
        print(message, file=sys.stderr, flush=True)
    sys.exit(status)


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(BY_KEYBOARD, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# For Ctrl-C while a script imports its modules, before `run`.
sys.excepthook = _show_uncaught
