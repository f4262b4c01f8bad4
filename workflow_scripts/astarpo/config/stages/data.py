"""The data stages: data sets, benchmarks, and the problems that they share."""

from __future__ import annotations

from astarpo.config.paths import benchmark_path, contamination_path, dataset_path
from astarpo.config.policies import contamination_pairs
from astarpo.config.runs import Config
from astarpo.config.stages.stage import Inputs, Stage, Wildcards
from astarpo.data.settings import (
    Contamination,
    DatasetSettings,
    DataSource,
    Decontamination,
    HubData,
    LocalFile,
    TaskSettings,
)


def _dataset_settings(config: Config, wildcards: Wildcards) -> DatasetSettings:
    entry = config.datasets[wildcards["dataset"]]
    near = config.contamination
    decontaminate = Decontamination(**near.only(Contamination), near=entry.decontaminate_near)
    return DatasetSettings(**entry.only(TaskSettings), decontaminate=decontaminate if entry.decontaminate else None)


def _dataset_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """Local data files, if any, and the benchmarks whose problems are dropped."""
    entry = config.datasets[wildcards["dataset"]]
    inputs = source_files(entry.source)
    if entry.decontaminate:
        inputs["benchmark"] = [benchmark_path(benchmark) for benchmark in entry.decontaminate]
    return inputs


def _dataset_record(wildcards: Wildcards) -> str:
    return dataset_path(wildcards["dataset"])


def _benchmark_settings(config: Config, wildcards: Wildcards) -> TaskSettings:
    return TaskSettings(**config.benchmarks[wildcards["benchmark"]].only(TaskSettings))


def _benchmark_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """Local data files, if any."""
    return source_files(config.benchmarks[wildcards["benchmark"]].source)


def _benchmark_record(wildcards: Wildcards) -> str:
    return benchmark_path(wildcards["benchmark"])


def _contamination_settings(config: Config, wildcards: Wildcards) -> Contamination:
    return config.contamination


def _contamination_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The two sets."""
    return {"dataset": dataset_path(wildcards["dataset"]), "benchmark": benchmark_path(wildcards["benchmark"])}


def _shown_contamination(config: Config, wildcards: Wildcards) -> Inputs:
    """The reports of every pair that the runs use."""
    return {"reports": [contamination_path(dataset, benchmark) for dataset, benchmark in contamination_pairs(config)]}


def source_files(source: DataSource | LocalFile | HubData) -> Inputs:
    """Return the files of a local source as inputs; empty for other sources."""
    if not isinstance(source, LocalFile):
        return {}
    return {"source": source.path if isinstance(source.path, str) else list(source.path)}


STAGES = {
    "prepare_dataset": Stage(_dataset_settings, _dataset_inputs, record=_dataset_record),
    "prepare_benchmark": Stage(_benchmark_settings, _benchmark_inputs, record=_benchmark_record),
    "check_contamination": Stage(_contamination_settings, _contamination_inputs),
    "show_contamination": Stage(_contamination_settings, _shown_contamination),
}
