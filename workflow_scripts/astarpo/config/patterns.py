"""Wildcard constraints: the names that a rule applies to."""

from __future__ import annotations

import re
from collections.abc import Iterable

from astarpo.config.runs import Config
from astarpo.config.samples import imported_samples

NAME = "[a-z0-9][a-z0-9-]*"
NOTHING = r"\b\B"  # matches no text


def one_of(names: Iterable[str]) -> str:
    """Match one of the names; nothing if there are none."""
    return "|".join(map(re.escape, names)) or NOTHING


def training_pattern(config: Config, steps: tuple[int, ...]) -> str:
    """Match the runs that keep just these steps."""
    return one_of(name for name, run in config.runs.items() if run.kept_steps() == steps)


def figure_pattern(config: Config, kind: str) -> str:
    """Match the figures of one kind."""
    return one_of(name for name, figure in config.figures.items() if figure.kind == kind)


def samples_pattern(config: Config, imported: bool) -> str:
    """Match the wildcard `reference` in `{reference}/{dataset}/...` for imported, or for newly drawn, samples.

    It looks ahead past the slash, because the pair of wildcards decides.
    """
    pairs = one_of(f"{reference}/{name}" for reference, name in imported_samples(config))
    return rf"(?{'=' if imported else '!'}(?:{pairs})/){NAME}"
