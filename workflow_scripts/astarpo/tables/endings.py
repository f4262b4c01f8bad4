"""Which trainings ended early, and which did not export their last step."""

from __future__ import annotations

import pandas as pd

from astarpo.tables.shown import ShownTable

AS_PLANNED = ("steps", "max_generated_tokens")


def endings_table(cost: pd.DataFrame) -> ShownTable | None:
    """Show the trainings that ended early or exported an earlier step.

    Args:
        cost: with the columns of `columns.COST`.

    Returns:
        One row per training; None if all ended as planned and exported their last step.
    """
    known = cost[cost["ended_by"].notna()]
    early = ~known["ended_by"].isin(AS_PLANNED)
    rows = known[early | (known["exported_step"] != known["last_step"])]
    if rows.empty:
        return None
    body = []
    for row in rows[["run", "seed", "last_step", "ended_by", "exported_step"]].itertuples(index=False):
        why = "as planned" if row.ended_by in AS_PLANNED else f"early, by stop_when.{row.ended_by}"
        body.append([row.run, str(row.seed), str(row.last_step), why, str(row.exported_step)])
    title = "Trainings that ended early or exported an earlier step than their last"
    return ShownTable.of(title, ["run", "seed", "last step", "ended", "exported step"], body)
