"""Errors that the user can act on."""

from __future__ import annotations

LONGEST_SHOWN = 200  # characters of a value in a message


class InputError(Exception):
    """A file, row, key or value given by the user is wrong; the message names it and says how to fix it."""


class Interrupted(Exception):
    """Work was stopped early on request (SIGTERM, walltime); finished work is kept."""


def shortened(value: object) -> str:
    """Show a value in a message: its `repr`, cut if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply; an integer of too many digits
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
