"""A*-PO: the library that the workflow's scripts call. Maths apart from I/O, engines apart from algorithms."""

__version__ = "0.1.0"
