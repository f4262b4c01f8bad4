"""The total cost of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def both_stages_seconds(cost: pd.DataFrame) -> pd.Series:
    """Seconds of both stages of each training; an unknown stage 1 counts as 0.

    Args:
        cost: with the columns of `columns.COST`.
    """
    return cost["stage1_seconds"].fillna(0.0) + cost["stage2_seconds"]
