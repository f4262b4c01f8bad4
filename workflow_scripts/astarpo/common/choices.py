"""Tables of the implementations that a setting chooses from, each in its own module, imported when chosen.

`astarpo.common.code` understands these tables: a job depends only on the rows that it uses, so a new row, or an edit
of another row's module, does not affect it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

Chosen = TypeVar("Chosen")


class Choices(Mapping[str, Chosen], Generic[Chosen]):
    """Name -> an object from its module, under the same attribute in every module.

    Args:
        modules: name -> dotted name of the module. Must be a literal, as it is found by parsing.
        attribute: the attribute that each module defines.
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
