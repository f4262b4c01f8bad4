"""Errors that a person can act on."""


class InputError(Exception):
    """A file, row, key or value given by the user is wrong; the message names it and says the way out."""


class Interrupted(Exception):
    """Work stopped before its end on request (SIGTERM, walltime); what was finished is kept."""
