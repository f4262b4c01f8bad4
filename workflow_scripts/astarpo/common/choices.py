"""Tables of things that one setting chooses, each in a module of its own that is imported when it is chosen.

`astarpo.common.code` understands these tables: a job depends on the rows that it uses. So a new row, or an edit of
another row's module, is no edit of the jobs that never use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

Chosen = TypeVar("Chosen")


class Choices(Mapping[str, Chosen], Generic[Chosen]):
    """Name -> what a module of its own defines under one common name.

    Args:
        modules: name -> dotted name of the module. Write it as a literal, as it is found by parsing.
        attribute: the name that each of them defines.
    """

    def __init__(self, modules: Mapping[str, str], attribute: str) -> None:
        self.modules, self.attribute = modules, attribute

    def __getitem__(self, name: str) -> Chosen:
        chosen: Chosen = vars(import_module(self.modules[name]))[self.attribute]
        return chosen

    def __iter__(self) -> Iterator[str]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)
