"""The table of all stages. A rule without an entry has no settings."""

from __future__ import annotations

import difflib

from astarpo.common.errors import InputError
from astarpo.config.stages import data, evaluation, stage_one, tables, training
from astarpo.config.stages.stage import Stage

# By the name of the rule, which is also that of its script; all plotting rules share `plot`.
STAGES: dict[str, Stage] = {
    **data.STAGES,
    **stage_one.STAGES,
    **training.STAGES,
    **evaluation.STAGES,
    **tables.STAGES,
}


def find_stage(name: str) -> Stage:
    """Look up a stage.

    Args:
        name: of its rule.

    Raises:
        InputError: there is no such stage.
    """
    if name in STAGES:
        return STAGES[name]
    near = difflib.get_close_matches(name, STAGES, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise InputError(
        f"there is no stage '{name}' in the tables of astarpo/config/stages{hint} The stages are {', '.join(STAGES)}"
    )
