"""Errors that the user can act on."""


class InputError(Exception):
    """A file, row, key or value given by the user is wrong; the message names it and says how to fix it."""


class Interrupted(Exception):
    """Work was stopped early on request (SIGTERM, walltime); finished work is kept."""
