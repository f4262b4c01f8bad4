"""What both sides of the comparison with TRL share: cores, prompts, verifier, memory, and what they hand back."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import TypedDict

from trl_cases import Measurement


class ProblemRow(TypedDict):
    """The columns of the data set that are used here."""

    prompt_id: str
    prompt: str
    gold: str
    verifier: str


def run(measure: Callable[[Measurement], dict[str, float]]) -> None:
    """Make the measurement that the command line describes, and print its numbers as JSON."""
    import torch

    asked = Measurement.from_json(sys.argv[1])
    # Otherwise "one core" would have a second one for grading.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])
    torch.set_num_threads(asked.threads)
    numbers = measure(asked)
    numbers[f"peak memory, {asked.stage}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(numbers))


def problems(asked: Measurement) -> list[ProblemRow]:
    """Read as many prompts as the measurement needs.

    Raises:
        InputError: the data set has fewer.
    """
    from astarpo.common.columns import DATASET
    from astarpo.common.errors import InputError
    from astarpo.common.files import read_table

    rows: list[ProblemRow] = read_table(asked.case.dataset, DATASET).to_pylist()
    if len(rows) < asked.needed_prompts:
        raise InputError(
            f"{asked.case.dataset} has {len(rows)} prompts, but {asked.stage} takes {asked.needed_prompts}: give fewer "
            "--prompts, --steps or --stage1-prompts"
        )
    return rows[: asked.needed_prompts]
