"""The forecast of gradient noise as tables, one for each scope."""

from __future__ import annotations

import pandas as pd

from astarpo.stage_one.noise import NO_FORECAST, baseline_name
from astarpo.tables.shown import ShownTable

SCOPES = {"all": "all prompts", "solved": "prompts that another of their samples solved"}


def forecast_tables(forecast: pd.DataFrame, value: str) -> list[ShownTable]:
    """Tabulate the forecast.

    Args:
        forecast: with the columns of `columns.FORECAST`.
        value: name of the estimate, for the titles.

    Returns:
        One table for each scope that has rows; a table without rows if none has.
    """
    tables = []
    for scope, rows in forecast.groupby("prompts", sort=False):
        first = rows.iloc[0]
        title = (
            f"{value}: forecast noise of the policy gradient, relative to no baseline [95 % interval over prompts]; "
            f"{SCOPES[str(scope)]}, {first['n_prompts']:,} of them with {first['n_samples']:,} responses"
        )
        body = [
            [
                baseline_name(row.baseline, None if pd.isna(row.beta1) else row.beta1),
                "" if pd.isna(row.scale) else f"{row.scale:.2f}",
                f"{row.noise:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]",
            ]
            for row in rows.itertuples()
        ]
        tables.append(ShownTable.of(title, ["baseline", "constant or scale", "noise"], body))
    none = f"{value}: {NO_FORECAST['all']}"
    return tables or [ShownTable.of(none, ["baseline", "constant or scale", "noise"], [])]
