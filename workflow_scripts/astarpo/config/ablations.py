"""The values of a setting across runs, for the axis of a figure."""

from __future__ import annotations

from astarpo.common.settings import Section
from astarpo.config.runs import Config
from astarpo.figures.settings import Ablation

MISSING = object()


def ablation_points(config: Config, figure: Ablation) -> dict[str, object]:
    """Return the value of an ablation figure's setting in each of its runs; runs without it are left out."""
    names = config.runs if figure.runs is None else figure.runs
    settings = {name: setting_of(config, name, figure.x) for name in names}
    return {name: value for name, value in settings.items() if value is not MISSING}


def setting_of(config: Config, run: str, key: str) -> object:
    """Look up a setting of a run.

    Args:
        config: a checked configuration.
        run: a run's name.
        key: of the run, such as ``beta2``, or of an entry that it names, such as ``value.beta1`` or ``selection.rule``.

    Returns:
        The value; None if the entry is null, `MISSING` if there is no such key.
    """
    first, _, rest = key.partition(".")
    value = _field(config.runs[run], first)
    if not rest or value is MISSING or value is None:
        return value
    if first not in ("value", "selection"):
        return MISSING
    entry: Section = config.values[str(value)] if first == "value" else config.selections[str(value)]
    # The mean is the limit of log_mean_exp as beta1 goes to infinity.
    if key == "value.beta1" and dict(entry).get("estimator") == "mean":
        return "mean"
    return _field(entry, rest)


def _field(entry: Section, key: str) -> object:
    return dict(entry).get(key, MISSING)
