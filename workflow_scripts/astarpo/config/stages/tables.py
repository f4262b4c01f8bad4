"""The stages that present results: tables, the page of responses, validation, figures."""

from __future__ import annotations

import hashlib

from astarpo.common.code import Chosen
from astarpo.common.kinds import Text
from astarpo.common.settings import Section
from astarpo.config.ablations import ablation_points
from astarpo.config.expected import expected_results
from astarpo.config.paths import (
    benchmark_path,
    evaluation_path,
    forecast_path,
    policy_path,
    run_of,
    table_path,
    training_folder,
    value_path,
)
from astarpo.config.policies import (
    evaluations,
    evaluations_of_steps,
    kept_rollouts,
    kept_steps,
    policy_of_step,
    trainings,
    validated_trainings,
)
from astarpo.config.runs import Config
from astarpo.config.stages.stage import Inputs, Stage, Wildcards
from astarpo.config.tables_plan import tables_plan
from astarpo.figures import PLOTS
from astarpo.figures import TABLES as FIGURE_TABLES
from astarpo.figures.settings import Ablation, AblationSettings, Figure, OfEstimate

STEP_RECORDS = ("manifest.json", "metrics.parquet", "timings.parquet")
ESTIMATE_TABLES = {"values": value_path, "forecast": forecast_path}


class PlanSettings(Section):
    """Settings of a stage that reads only the plan of the tables.

    Without the hash, an outdated plan kept by `snakemake --touch` would go unnoticed.
    """

    plan_sha256: Text


def _plan_settings(config: Config, wildcards: Wildcards) -> PlanSettings:
    return PlanSettings(plan_sha256=hashlib.sha256(tables_plan(config).encode()).hexdigest())


def _results(config: Config, wildcards: Wildcards) -> Inputs:
    """All results that the tables read or check."""
    files = [expected["file"] for expected in expected_results(config)]
    for run, seed in trainings(config):
        files += [f"{training_folder(run, seed)}/{name}.parquet" for name in ("metrics", "timings")]
    return {"results": list(dict.fromkeys(files))}


def _answers(config: Config, wildcards: Wildcards) -> Inputs:
    """All answers, their grades, and the problems."""
    files = []
    for policy, benchmark, protocol in evaluations(config):
        files.append(evaluation_path(policy, benchmark, protocol, "generations"))
        files.append(evaluation_path(policy, benchmark, protocol, "graded"))
        files.append(benchmark_path(benchmark))
    return {"answers": list(dict.fromkeys(files))}


def _steps(config: Config, wildcards: Wildcards) -> Inputs:
    """What the kept steps and their trainings recorded, and the answers of all policies on a curve."""
    runs = {run for run, _, _ in kept_steps(config)}
    files = [policy_path(policy_of_step(*one)) for one in kept_steps(config)]
    for run, seed in trainings(config):
        if run in runs:
            files += [f"{training_folder(run, seed)}/{name}" for name in STEP_RECORDS]
    on_curves = {*(config.runs[run].reference for run in runs), *runs}
    others = [names for names in evaluations(config) if run_of(names[0]) in on_curves]
    for policy, benchmark, protocol in [*others, *evaluations_of_steps(config)]:
        files += [evaluation_path(policy, benchmark, protocol, kind) for kind in ("generations", "graded")]
    return {"results": list(dict.fromkeys(files))}


def _validation_metrics(config: Config, wildcards: Wildcards) -> Inputs:
    """The metrics of every training with validation prompts."""
    return {"metrics": [f"{training_folder(run, seed)}/metrics.parquet" for run, seed in validated_trainings(config)]}


def _kept_rollouts(config: Config, wildcards: Wildcards) -> Inputs:
    """The kept rollouts that are shown."""
    return {"rollouts": [f"{training_folder(run, seed)}/rollouts.parquet" for run, seed in kept_rollouts(config)]}


def _figure_settings(config: Config, wildcards: Wildcards) -> Figure:
    """The figure's entry; for an ablation, also its setting's value in each run."""
    figure = config.figures[wildcards["figure"]]
    if isinstance(figure, Ablation):
        return AblationSettings.model_validate({**dict(figure), "points": ablation_points(config, figure)})
    return figure


def _figure_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The tables that the figure shows."""
    figure = config.figures[wildcards["figure"]]
    if isinstance(figure, OfEstimate):
        return {table: ESTIMATE_TABLES[table](figure.value) for table in FIGURE_TABLES[figure.kind]}
    return {table: table_path(f"{table}.parquet") for table in FIGURE_TABLES[figure.kind]}


def _figure_modules(config: Config, wildcards: Wildcards) -> Chosen:
    """The module of the figure's kind."""
    return (PLOTS.modules[config.figures[wildcards["figure"]].kind],)


STAGES = {
    "summarize": Stage(_plan_settings, _results),
    "show_examples": Stage(_plan_settings, _answers),
    "show_kinds": Stage(_plan_settings, _answers),
    "show_kept_steps": Stage(_plan_settings, _steps),
    "show_validation": Stage(_plan_settings, _validation_metrics),
    "show_rollouts": Stage(_plan_settings, _kept_rollouts),
    "plot": Stage(_figure_settings, _figure_inputs, _figure_modules),
}
