"""What trainings reached on their validation prompts, learning rates side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from astarpo.errors import InputError
from astarpo.files import read_table
from astarpo.tables.text import TextTable

Row = Mapping[str, Any]
COLUMNS = ("run", "family", "seed", "lr", "step", "validation_reward")
NEEDED = pa.schema([("step", pa.int64()), ("validation_reward", pa.float64())])


def validation_rows(run: Row) -> list[dict[str, Any]]:
    """Read every look that a training took at its validation prompts.

    Args:
        run: of the tables' plan: ``run``, ``family``, ``seed``, ``lr`` and the file ``metrics``.

    Returns:
        Rows with `COLUMNS`; none where the run has no validation prompts.

    Raises:
        InputError: the file is missing or lacks a column.
    """
    table = read_table(run["metrics"], NEEDED).sort_by("step")
    labels = {name: run[name] for name in ("run", "family", "seed", "lr")}
    return [
        {**labels, **row}
        for row in table.select(NEEDED.names).to_pylist()
        if row["validation_reward"] is not None
    ]


def rate_table(rows: Sequence[Row]) -> TextTable:
    """Lay out the last looks: a row for runs that differ in the learning rate alone, a column a rate.

    Args:
        rows: with `COLUMNS`.

    Returns:
        Percent right, means over the seeds; the best rate of a row bold, where it has several.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("no training has looked at validation prompts; give its run `validation`")
    last: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row["family"], row["lr"]][row["seed"]] = row["validation_reward"]
    mean = {key: sum(seeds.values()) / len(seeds) for key, seeds in last.items()}
    rates = sorted({rate for _, rate in mean})
    body = []
    for family in dict.fromkeys(name for name, _ in mean):
        own = {rate: mean[family, rate] for rate in rates if (family, rate) in mean}
        best = max(own.values()) if len(own) > 1 else None
        cells = [f"{100 * own[rate]:.1f}" if rate in own else "" for rate in rates]
        bold = [rate in own and own[rate] == best for rate in rates]
        body.append(
            [
                family,
                *(
                    f"<b>{cell}</b>" if marked else cell
                    for cell, marked in zip(cells, bold, strict=True)
                ),
            ]
        )
    return TextTable(
        "Percent of the validation prompts right at the end, by learning rate; means over seeds, the best rate bold",
        ["run", *(f"{rate:g}" for rate in rates)],
        body,
    )
