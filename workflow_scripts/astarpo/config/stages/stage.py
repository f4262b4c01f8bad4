"""The type of the rows of the stage table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from astarpo.common.code import Chosen
from astarpo.common.settings import Section, canonical_json
from astarpo.config.runs import Config


class Wildcards(TypedDict, total=False):
    """The wildcards of a job; each rule has some of them. Snakemake's object has the same interface."""

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
    step: str  # of no rule: a kept step of a training


Inputs = dict[str, str | list[str]]  # name -> path or paths, as the rule declares them and its results record them


def _none(config: Config, wildcards: Wildcards) -> Chosen:
    return ()


@dataclass(frozen=True)
class Stage:
    """The settings, inputs and code of a rule's jobs, as functions of the checked configuration and the wildcards.

    Attributes:
        settings: exactly what the script reads; Snakemake compares it, as JSON.
        inputs: data only; their names are the script's options.
        modules: optional modules that the job uses (`astarpo.common.code.OPTIONAL`, rows of `Choices` tables), and
            custom verifier files.
        packages: packages that the job needs and the stage's default environment lacks.
        record: the result whose provenance the tables check; None: they do not check it.
    """

    settings: Callable[[Config, Wildcards], Section]
    inputs: Callable[[Config, Wildcards], Inputs]
    modules: Callable[[Config, Wildcards], Chosen] = _none
    packages: Callable[[Config, Wildcards], tuple[str, ...]] = _none
    record: Callable[[Wildcards], str] | None = None

    def settings_json(self, config: Config, wildcards: Wildcards) -> str:
        """Return the settings as canonical JSON: equal settings give equal text."""
        return canonical_json(self.settings(config, wildcards))
