"""The settings and inputs that each result used by the tables must record, in the order of the data flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from astarpo.config.paths import block_path
from astarpo.config.policies import evaluations, evaluations_of_steps, kept_steps, references_of_runs, trainings
from astarpo.config.runs import Config
from astarpo.config.samples import blocks, is_imported
from astarpo.config.schema import SelectionEntry, ValueEntry
from astarpo.config.stages import data, evaluation, stage_one, training
from astarpo.config.stages.stage import Inputs, Stage, Wildcards

if TYPE_CHECKING:
    from astarpo.tables.plan import Expected

# Those of the stage table that come before the tables, whose own settings depend on this module.
STAGES: dict[str, Stage] = {**data.STAGES, **stage_one.STAGES, **training.STAGES, **evaluation.STAGES}


def expected_results(config: Config, wanted: Callable[[str], bool] = bool) -> list[Expected]:
    """List the results in use, each once: file, rule, settings, inputs and optional modules.

    Args:
        config: the configuration.
        wanted: of the file; the others are left out.
    """
    return [_expected(config, rule, wildcards) for rule, wildcards in _jobs(config) if wanted(_file(rule, wildcards))]


def manifests_of_estimate(config: Config, name: str) -> list[str]:
    """List the manifests of the sample blocks behind an estimate of V*."""
    entry = config.values[name]
    names = blocks(config, entry)
    return [block_path(entry.reference, entry.dataset, block, "manifest.json") for block in names]


def flat(inputs: Inputs) -> dict[str, str]:
    """Give each file of a list its own name, as `cli.numbered` does."""
    named: dict[str, str] = {}
    for name, value in inputs.items():
        if isinstance(value, list):
            named |= {f"{name}-{index}": path for index, path in enumerate(value)}
        else:
            named[name] = value
    return named


def _expected(config: Config, rule: str, wildcards: Wildcards) -> Expected:
    stage = STAGES[rule]
    return {
        "file": _file(rule, wildcards),
        "rule": rule,
        "settings": stage.settings_json(config, wildcards),
        "inputs": flat(stage.inputs(config, wildcards)),
        "chosen": list(stage.modules(config, wildcards)),
    }


def _file(rule: str, wildcards: Wildcards) -> str:
    record = STAGES[rule].record
    assert record is not None, f"results of {rule} do not record what they were made from"
    return record(wildcards)


def _jobs(config: Config) -> Iterator[tuple[str, Wildcards]]:
    for name in _used_datasets(config):
        yield "prepare_dataset", {"dataset": name}
    for name in dict.fromkeys(benchmark for _, benchmark, _ in evaluations(config)):
        yield "prepare_benchmark", {"benchmark": name}
    for name in references_of_runs(config):
        yield "prepare_reference", {"reference": name}
    yield from _stage_one_jobs(config)
    for run, seed in trainings(config):
        yield "train_policy", {"run": run, "seed": str(seed)}
    for run, seed, step in kept_steps(config):
        yield "train_policy", {"run": run, "seed": str(seed), "step": str(step)}
    for policy, benchmark, protocol in [*evaluations(config), *evaluations_of_steps(config)]:
        names: Wildcards = {"policy": policy, "benchmark": benchmark, "protocol": protocol}
        yield "generate_answers", names
        yield "grade_answers", names


def _stage_one_jobs(config: Config) -> Iterator[tuple[str, Wildcards]]:
    """Yield the selections and estimates that runs use, each after its blocks that were not yet listed."""
    selections = {run.selection for run in config.runs.values()}
    estimates = {run.estimate_name() for run in config.runs.values()}
    seen: set[tuple[str, str, str]] = set()
    for name, selection in config.selections.items():
        if name in selections:
            yield from _block_jobs(config, selection, seen)
            yield "select_prompts", {"selection": name}
    for name, value in config.values.items():
        if name in estimates:
            yield from _block_jobs(config, value, seen)
            yield "estimate_values", {"value": name}


def _block_jobs(
    config: Config, entry: SelectionEntry | ValueEntry, seen: set[tuple[str, str, str]]
) -> Iterator[tuple[str, Wildcards]]:
    """Yield samples and grades of an entry's blocks that were not yet listed."""
    imported = is_imported(config, entry.reference, entry.dataset)
    for block in blocks(config, entry):
        if (entry.reference, entry.dataset, block) in seen:
            continue
        seen.add((entry.reference, entry.dataset, block))
        names: Wildcards = {"reference": entry.reference, "dataset": entry.dataset, "block": block}
        yield "import_samples" if imported else "sample_reference", names
        yield "grade_samples", names


def _used_datasets(config: Config) -> list[str]:
    """List data sets used by runs for training or validation, or by their references for a warm start."""
    used: set[str | None] = set()
    for run in config.runs.values():
        warm_start = config.references[run.reference].warm_start
        used |= {run.dataset, run.validation, warm_start.dataset if warm_start else None}
    return [name for name in config.datasets if name in used]
