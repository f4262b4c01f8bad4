"""Settings of a data set from its entry in a configuration, as the plan makes them."""

from __future__ import annotations

from typing import Any

from astarpo.config.schema import DatasetEntry
from astarpo.data.settings import DatasetSettings, Decontamination, TaskSettings


def dataset_settings(entry: dict[str, Any], decontaminate: Decontamination | None = None) -> DatasetSettings:
    """Settings with every default; ``decontaminate`` as the plan puts it together."""
    return DatasetSettings(**DatasetEntry.model_validate(entry).only(TaskSettings), decontaminate=decontaminate)
