"""Figures, one module for each kind; `style` and `scores` hold what they share.

A new kind is a module with a function `plot`, a row of `TABLES` and of `PLOTS`, an entry in `astarpo.config.runs` and a
caption in report/. A figure depends only on the module of its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astarpo.common.choices import Choices

# Kind -> the tables that it shows.
TABLES: dict[str, tuple[str, ...]] = {
    "training_curves": ("curves",),
    "accuracy": ("summary",),
    "values": ("values",),
    "time": ("cost",),
    "training_time": ("cost",),
    "tradeoff": ("summary", "cost"),
    "ablation": ("summary", "cost"),
}
# Each is called with its tables, named as in `TABLES`, and its settings, and returns a matplotlib figure.
PLOTS: Choices[Callable[..., Any]] = Choices(
    {
        "training_curves": "astarpo.figures.training_curves",
        "accuracy": "astarpo.figures.accuracy",
        "values": "astarpo.figures.values",
        "time": "astarpo.figures.time",
        "training_time": "astarpo.figures.training_time",
        "tradeoff": "astarpo.figures.tradeoff",
        "ablation": "astarpo.figures.ablation",
    },
    "plot",
)
