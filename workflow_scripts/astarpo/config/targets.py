"""The files of each target of the workflow."""

from __future__ import annotations

from collections.abc import Callable

from astarpo.config.paths import (
    benchmark_path,
    dataset_path,
    forecast_path,
    model_path,
    reference_path,
    selection_path,
    step_folder,
    table_path,
    training_folder,
    value_path,
)
from astarpo.config.policies import (
    evaluations_of_steps,
    has_kinds,
    kept_rollouts,
    kept_steps,
    references_of_runs,
    trainings,
    validated_trainings,
)
from astarpo.config.runs import Config


def all_results(config: Config) -> list[str]:
    """All results."""
    # List model folders too, because they may be missing even if later results exist.
    models = [model_path(name) for name in references_of_runs(config)]
    presented = [*forecasts(config), *validation(config), *tables(config), *figures(config)]
    return [*data(config), *models, *train(config), *presented, "results/report.zip"]


def data(config: Config) -> list[str]:
    """Every data set and benchmark, and the table of shared problems."""
    return [
        *map(dataset_path, config.datasets),
        *map(benchmark_path, config.benchmarks),
        table_path("contamination.csv"),
    ]


def reference(config: Config) -> list[str]:
    """Every reference policy: its manifest and its model folder."""
    return [path(name) for name in config.references for path in (reference_path, model_path)]


def values(config: Config) -> list[str]:
    """Every estimate of V*, the forecasts of noise, and every selection."""
    return [*map(value_path, config.values), *forecasts(config), *map(selection_path, config.selections)]


def forecasts(config: Config) -> list[str]:
    """The forecast of noise from every estimate of V* that a run uses."""
    used = {run.estimate_name() for run in config.runs.values()}
    return [forecast_path(name, "html") for name in config.values if name in used]


def train(config: Config) -> list[str]:
    """The manifest and the model folder of every training and of every kept step."""
    names = ("manifest.json", "model")
    folders = [training_folder(run, seed) for run, seed in trainings(config)]
    folders += [step_folder(run, seed, step) for run, seed, step in kept_steps(config)]
    return [f"{folder}/{name}" for folder in folders for name in names]


def validation(config: Config) -> list[str]:
    """The tables of validation rewards and kept rollouts, which need no evaluation; none without validation prompts."""
    rewards = [table_path("validation.csv")] if validated_trainings(config) else []
    return [*rewards, *([table_path("rollouts.csv")] if kept_rollouts(config) else [])]


def tables(config: Config) -> list[str]:
    """The tables, which need every evaluation, and the page of responses.

    Scores by kind if problems have kinds, and those of kept steps if there are any.
    """
    kinds = ("kinds.csv",) if any(has_kinds(entry) for entry in config.benchmarks.values()) else ()
    steps = ("kept_steps.csv",) if evaluations_of_steps(config) else ()
    return [table_path(name) for name in ("summary.csv", "curves.csv", "cost.csv", "examples.html", *kinds, *steps)]


def figures(config: Config) -> list[str]:
    """Every figure, as PNG and PDF."""
    return [f"results/figures/{name}.{ending}" for name in config.figures for ending in ("png", "pdf")]


# By the name of the collecting rule.
TARGETS: dict[str, Callable[[Config], list[str]]] = {
    "all": all_results,
    "data": data,
    "reference": reference,
    "values": values,
    "train": train,
    "validation": validation,
    "evaluate": tables,
    "figures": figures,
}
