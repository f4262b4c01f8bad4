"""Checks of what a configuration requires of its models, as far as possible without loading them."""

from __future__ import annotations

from collections.abc import Iterator

from astarpo.config.lengths import lengths_of
from astarpo.config.runs import Config
from astarpo.model.lengths import length_problem
from astarpo.stage_one.settings import HubModel, Scratch


def model_errors(config: Config) -> Iterator[str]:
    """Find models with unsupported requirements: texts that are too long, or an attention that cannot work.

    Yields:
        One line per error: key, value, what is allowed.
    """
    for name, reference in config.references.items():
        key, source = f"references.{name}", reference.source
        if isinstance(source, HubModel) and source.trust_remote_code and source.revision is None:
            yield f"{key}.source.trust_remote_code = True: needs {key}.source.revision, the commit whose code was read"
        if isinstance(source, Scratch):
            problems = [
                length_problem(f"{key} (source.max_positions)", source.max_positions, length)
                for length in lengths_of(config, name)
            ]
            yield from (problem for problem in problems if problem is not None)
        if not reference.attention.startswith("flash"):
            continue
        attention = f"{key}.attention = '{reference.attention}'"
        if reference.precision != "bfloat16":
            yield f"{attention}: supports only half precision; set {key}.precision: bfloat16, or attention: sdpa"
        if config.machine.device == "cpu":
            yield f"{attention}: needs a GPU, but machine.device is 'cpu'; set attention: sdpa"
