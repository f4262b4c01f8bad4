"""Whether texts as long as configured have room in the models' positions, before a model is downloaded or loaded."""

from __future__ import annotations

from astarpo.config.lengths import lengths_of
from astarpo.config.runs import Config
from astarpo.model.lengths import length_problem, position_limit
from astarpo.planning.sizes import model_config, name_of_model


def position_problems(config: Config) -> list[str]:
    """Find prompts and responses that are together longer than a model can read.

    Args:
        config: checked; of models from scratch that includes this.

    Returns:
        One line for each entry whose texts are too long; nothing for a model whose config.json is not at hand.
    """
    found = []
    for name, reference in config.references.items():
        known = model_config(config, name) or {}
        title = f"references.{name} ({name_of_model(reference.source)})"
        found += [length_problem(title, position_limit(known), length) for length in lengths_of(config, name)]
    return [problem for problem in found if problem is not None]
