"""Figures, one module for each kind; `style` and `scores` hold what they share.

A new kind is a module with a function `plot`, a row of `TABLES` and of `PLOTS`, a type in `settings` and a caption in
report/. A figure depends on the module of its kind and on `settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from astarpo.common.choices import Choices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Kind -> the tables that it shows.
TABLES: dict[str, tuple[str, ...]] = {
    "training_curves": ("curves",),
    "accuracy": ("summary",),
    "values": ("values",),
    "forecast": ("forecast",),
    "time": ("cost",),
    "training_time": ("cost",),
    "tradeoff": ("summary", "cost"),
    "kept_steps": ("kept_steps",),
    "ablation": ("summary", "cost"),
}
# Each is called with its tables, named as in `TABLES`, and its settings, and returns a matplotlib figure.
PLOTS: Choices[Callable[..., Figure]] = Choices(
    {
        "training_curves": "astarpo.figures.training_curves",
        "accuracy": "astarpo.figures.accuracy",
        "values": "astarpo.figures.values",
        "forecast": "astarpo.figures.forecast",
        "time": "astarpo.figures.time",
        "training_time": "astarpo.figures.training_time",
        "tradeoff": "astarpo.figures.tradeoff",
        "kept_steps": "astarpo.figures.kept_steps",
        "ablation": "astarpo.figures.ablation",
    },
    "plot",
)
