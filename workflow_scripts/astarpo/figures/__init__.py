"""Figures, one module for each kind; `style` and `scores` hold what they share.

A new kind is a module with a function `plot`, a row of `TABLES`, a row of `plotting.PLOTS`, an entry in
`astarpo.config.runs` and a caption in report/.
"""

# Kind, which is also the name of its module -> the tables that it shows.
TABLES: dict[str, tuple[str, ...]] = {
    "training_curves": ("curves",),
    "accuracy": ("summary",),
    "values": ("values",),
    "time": ("cost",),
    "training_time": ("cost",),
    "tradeoff": ("summary", "cost"),
    "ablation": ("summary", "cost"),
}


def modules_of_other_kinds(kind: str) -> tuple[str, ...]:
    """Modules that figures of a kind do not depend on: an edit of one does not plot them again."""
    return tuple(f"{__name__}.{other}" for other in TABLES if other != kind)
