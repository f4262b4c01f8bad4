"""The type of the rows of the stage table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from astarpo.common.code import Chosen
from astarpo.common.settings import Section, canonical_json
from astarpo.config.runs import Config


class Wildcards(TypedDict, total=False):
    """The wildcards of a job; a rule has some of them. Snakemake's own object reads the same way."""

    dataset: str
    benchmark: str
    reference: str
    block: str
    selection: str
    value: str
    run: str
    seed: str
    policy: str
    protocol: str
    figure: str


Inputs = dict[str, str | list[str]]  # name -> path or paths, as the rule declares them and its results record them


def _none(config: Config, wildcards: Wildcards) -> Chosen:
    return ()


@dataclass(frozen=True)
class Stage:
    """What a rule's jobs are given, as functions of the checked configuration and of a job's wildcards.

    Attributes:
        settings: what the script reads, and nothing else: Snakemake compares it, as JSON.
        inputs: data only; their names are the options of the script.
        modules: optional modules of code that the job uses (`astarpo.common.code.OPTIONAL`, rows of `Choices` tables)
            and files of the user's own.
        packages: packages that the job needs and the stage's usual environment does not have.
        record: the result that records what it was made from, for the tables to check; None: they do not check it.
    """

    settings: Callable[[Config, Wildcards], Section]
    inputs: Callable[[Config, Wildcards], Inputs]
    modules: Callable[[Config, Wildcards], Chosen] = _none
    packages: Callable[[Config, Wildcards], tuple[str, ...]] = _none
    record: Callable[[Wildcards], str] | None = None

    def settings_json(self, config: Config, wildcards: Wildcards) -> str:
        """The settings as one text: equal settings are equal texts."""
        return canonical_json(self.settings(config, wildcards))
