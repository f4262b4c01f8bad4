"""Pass counts of stage 1: how often the reference solved each prompt in its first N samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astarpo.common.columns import GRADED
from astarpo.common.errors import InputError
from astarpo.common.files import read_table


def count_correct(graded: Sequence[str], n: int, first: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Count graded and right responses of each prompt among its samples ``first`` to ``first + n - 1``.

    Null grades (timeout, error) count as neither.

    Args:
        graded: parquet files of graded blocks.
        n: N, samples per prompt.
        first: number of the first of them.

    Returns:
        Prompt ids (sorted), number of grades [P], number of right responses [P].

    Raises:
        InputError: a prompt lacks some of its ``n`` samples, or has one twice.
    """
    needed = pa.schema([GRADED.field(name) for name in ("prompt_id", "sample_index", "reward")])
    table = pa.concat_tables(read_table(path, needed).replace_schema_metadata() for path in graded)
    table = table.filter(among(table["sample_index"], n, first))
    counts = (
        table.group_by("prompt_id")
        .aggregate(
            [("sample_index", "count_distinct"), ("sample_index", "count"), ("reward", "count"), ("reward", "sum")]
        )
        .sort_by("prompt_id")
    )
    prompt_ids = counts["prompt_id"].to_pylist()
    for name in ("sample_index_count_distinct", "sample_index_count"):
        sample_counts = counts[name].to_numpy()
        if (sample_counts != n).any():
            wrong = int(np.flatnonzero(sample_counts != n)[0])
            raise InputError(
                f"prompt {prompt_ids[wrong]} has {sample_counts[wrong]} samples instead of {n} in "
                f"{', '.join(graded[:3])}{' ...' if len(graded) > 3 else ''}; sample its blocks again"
            )
    correct = np.nan_to_num(counts["reward_sum"].to_numpy(zero_copy_only=False)).astype(np.int64)
    return prompt_ids, counts["reward_count"].to_numpy().astype(np.int64), correct


def among(sample_index: pa.ChunkedArray, n: int, first: int) -> pa.ChunkedArray:
    """Whether each sample is one of the ``n`` from ``first`` on."""
    return pc.and_(pc.greater_equal(sample_index, first), pc.less(sample_index, first + n))
