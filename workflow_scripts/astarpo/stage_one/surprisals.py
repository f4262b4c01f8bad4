"""Surprisals -ln pi_ref(y|x) of stage 1's graded samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astarpo.common.columns import GENERATIONS, GRADED
from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.stage_one.counts import among
from astarpo.stage_one.noise import Samples

KEYS = ["prompt_id", "sample_index"]


def read_samples(
    graded: Sequence[str], generations: Sequence[str], n: int, prompt_ids: Sequence[str], first: int = 0
) -> Samples | None:
    """Read rewards and surprisals of each prompt's samples ``first`` to ``first + n - 1``, without null grades.

    Args:
        graded: parquet files of graded blocks.
        generations: parquet files of the same blocks' responses.
        n: N, samples per prompt.
        prompt_ids: of all prompts; the samples have indices into it.
        first: number of the first sample.

    Returns:
        The samples, ordered by prompt and sample, or None if some of them came without log-probabilities.

    Raises:
        InputError: a graded response is not among ``generations``.
    """
    grades = _read(graded, GRADED, "reward", n, first)
    grades = grades.filter(pc.is_valid(grades["reward"]))
    log_probs = _read(generations, GENERATIONS, "logprob_sum", n, first)
    joined = grades.join(log_probs, KEYS, join_type="inner").sort_by([(key, "ascending") for key in KEYS])
    if len(joined) != len(grades):
        raise InputError(
            f"{len(grades) - len(joined)} graded responses of {', '.join(graded[:3])} are not in "
            f"{', '.join(generations[:3])}: the files are of different blocks; grade the blocks again"
        )
    if joined["logprob_sum"].null_count:
        return None
    index = pc.index_in(joined["prompt_id"], pa.array(prompt_ids))
    return Samples(index.to_numpy(), joined["reward"].to_numpy(), -joined["logprob_sum"].to_numpy())


def sums_by_prompt(samples: Samples, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum the surprisals of each prompt's samples, and the surprisals times the rewards.

    Args:
        samples: of stage 1.
        count: P, number of prompts.

    Returns:
        Two arrays [P]; 0 for a prompt without graded samples.
    """
    prompt_M, weight_M = samples.prompt_M, samples.weight_M
    return np.bincount(prompt_M, weight_M, count), np.bincount(prompt_M, weight_M * samples.reward_M, count)


def _read(paths: Sequence[str], schema: pa.Schema, column: str, n: int, first: int) -> pa.Table:
    needed = pa.schema([schema.field(name) for name in (*KEYS, column)])
    table = pa.concat_tables(read_table(path, needed).replace_schema_metadata() for path in paths)
    return table.filter(among(table["sample_index"], n, first))
