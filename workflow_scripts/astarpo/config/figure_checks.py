"""Figures that could not be plotted, detected before their runs are trained."""

from __future__ import annotations

from collections.abc import Iterator

from astarpo.config.ablations import MISSING, ablation_points, setting_of
from astarpo.config.runs import Config
from astarpo.config.schema import BenchmarkEntry
from astarpo.figures.settings import Ablation, Accuracy, Figure, KeptSteps, OfEstimate, Tradeoff

MOST_PIXELS = 2**16 - 1  # per side, in matplotlib


def figure_errors(config: Config) -> Iterator[str]:
    """Find figures that need something that their runs or benchmarks lack.

    Yields:
        One line per error: key, value, what is allowed.
    """
    for name, figure in config.figures.items():
        key = f"figures.{name}"
        yield from _pixel_errors(key, figure)
        if isinstance(figure, OfEstimate):
            continue
        if not config.runs:
            yield f"{key}: shows runs, but there are none; add one under runs, or remove the figure"
        elif isinstance(figure, Accuracy | Tradeoff | KeptSteps | Ablation) and not config.benchmarks:
            yield f"{key}: shows scores, but there are no benchmarks; add one, or remove the figure"
        elif isinstance(figure, Tradeoff):
            yield from _score_errors(config, key, figure, list(figure.runs or config.runs))
        elif isinstance(figure, KeptSteps):
            yield from _kept_steps_errors(config, key, figure)
        elif isinstance(figure, Ablation):
            yield from _axis_errors(config, key, figure)


def _kept_steps_errors(config: Config, key: str, figure: KeptSteps) -> Iterator[str]:
    keeping = [name for name, run in config.runs.items() if run.kept_steps()]
    if not keeping:
        yield f"{key}: shows kept steps, but no run keeps any; set `keep: {{steps: [...]}}` in a run"
        return
    without = [name for name in figure.runs or () if name not in keeping]
    if without:
        yield f"{key}.runs: {', '.join(without)} keeps no steps; set `keep: {{steps: [...]}}` there, or remove it"
        return
    yield from _score_errors(config, key, figure, list(figure.runs or keeping))


def _pixel_errors(key: str, figure: Figure) -> Iterator[str]:
    for side, inches in (("width_in", figure.width_in), ("height_in", figure.height_in)):
        if inches * figure.dpi > MOST_PIXELS:
            yield (f"{key}.dpi = {figure.dpi}: times {side} ({inches:g}) must not be above {MOST_PIXELS} pixels")


def _axis_errors(config: Config, key: str, figure: Ablation) -> Iterator[str]:
    points = ablation_points(config, figure)
    if not points:
        yield (
            f"{key}.x = '{figure.x}': no run has this key; use one of a run (`beta2`, `lr`, `method`), "
            "its estimate (`value.beta1`, `value.n`) or its selection (`selection.rule`)"
        )
        return
    for run in figure.runs or ():
        if setting_of(config, run, figure.x) is MISSING:
            yield f"{key}.runs: '{run}' has no key '{figure.x}'; remove it from the list"
    if any(not isinstance(value, str | int | float | None) for value in points.values()):
        yield (f"{key}.x = '{figure.x}': has lists or mappings; an axis takes numbers, strings, true, false and null")
    yield from _score_errors(config, key, figure, list(points))


def _score_errors(config: Config, key: str, figure: Tradeoff | KeptSteps | Ablation, runs: list[str]) -> Iterator[str]:
    """Find a benchmark that no run of the figure is evaluated on, or that lacks the metric."""
    evaluated = {name: config.runs[name].benchmarks or tuple(config.benchmarks) for name in runs}
    shown = figure.benchmark or _first_benchmark(config)
    named = f"'{shown}'" if figure.benchmark else f"null, which means the first, '{shown}'"
    without = [name for name in runs if shown not in evaluated[name]]
    if without and (figure.runs is not None or len(without) == len(runs)):
        yield (
            f"{key}.benchmark = {named}: not among the benchmarks of {', '.join(without)}; add it there, "
            "or choose another"
        )
    families = _families(config.benchmarks[shown])
    if figure.metric not in families:
        yield (
            f"{key}.metric = '{figure.metric}': benchmark '{shown}' has only {', '.join(families)}; "
            f"choose one of these, or add a protocol to benchmarks.{shown}.protocols (greedy: temperature 0; the "
            "others: a temperature above 0)"
        )


def _first_benchmark(config: Config) -> str:
    """Return the first benchmark of the summary, which begins with the reference of the first run."""
    runs = list(config.runs.values())
    wanted = {
        name for run in runs if run.reference == runs[0].reference for name in run.benchmarks or config.benchmarks
    }
    return next(name for name in config.benchmarks if name in wanted)


def _families(benchmark: BenchmarkEntry) -> list[str]:
    """List the families of metrics that a benchmark's protocols provide, see `scores.score`."""
    families: dict[str, None] = {}
    for protocol in benchmark.protocols.values():
        greedy = protocol.k == 1 and protocol.temperature == 0
        families |= dict.fromkeys(("greedy",) if greedy else ("avg", "pass", "maj"))
    return list(families)
