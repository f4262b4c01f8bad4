"""What a configuration asks of its references' models, as far as it can be checked without loading them."""

from __future__ import annotations

from collections.abc import Iterator

from astarpo.config.lengths import lengths_of
from astarpo.config.runs import Config
from astarpo.model.lengths import length_problem
from astarpo.stage_one.settings import Scratch


def model_errors(config: Config) -> Iterator[str]:
    """Find models that are asked for what they cannot do: texts that are too long, or that kind of attention.

    Yields:
        One line per error: key, value, what is allowed.
    """
    for name, reference in config.references.items():
        key, source = f"references.{name}", reference.source
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
            yield f"{attention}: computes in half precision only; set {key}.precision: bfloat16, or attention: sdpa"
        if config.machine.device == "cpu":
            yield f"{attention}: needs a GPU, but machine.device is 'cpu'; set attention: sdpa"
