"""Stage 2: a run's training, with the same settings for every seed."""

from __future__ import annotations

from astarpo.common.code import Chosen
from astarpo.config.methods import RunEntry
from astarpo.config.paths import (
    dataset_path,
    reference_path,
    selection_path,
    step_folder,
    training_folder,
    value_path,
)
from astarpo.config.runs import Config
from astarpo.config.samples import sampling_of
from astarpo.config.stages.modules import (
    DEEPSPEED_MODULES,
    ESTIMATE_MODULES,
    LORA_MODULES,
    merge_modules,
    sampling_modules,
    sampling_packages,
    verifier_files,
    verifier_modules,
)
from astarpo.config.stages.stage import Inputs, Stage, Wildcards
from astarpo.data.settings import PromptSettings
from astarpo.model.settings import packages_of
from astarpo.objectives import METHODS
from astarpo.sampling.settings import PolicySettings, how_to_sample
from astarpo.stage_one.settings import EstimateSettings
from astarpo.training.settings import TrainingKeys, TrainSettings


def _settings(config: Config, wildcards: Wildcards) -> TrainSettings:
    run = config.runs[wildcards["run"]]
    reference = config.references[run.reference]
    return TrainSettings(
        **run.only(TrainingKeys),
        **reference.only(PolicySettings),
        method=run.method,
        hyperparameters=run.hyperparameters(),
        estimate=_updated_estimate(config, run),
        sampling=how_to_sample(sampling_of(config, run.dataset)),
        prompting=_prompting(config, run),
        grading=config.datasets[run.dataset].grading,
    )


def _updated_estimate(config: Config, run: RunEntry) -> EstimateSettings | None:
    """How V* is re-estimated during training; None if it is not."""
    name = run.estimate_name()
    if name is None or not run.updates_estimate():
        return None
    return EstimateSettings(**config.values[name].only(EstimateSettings))


def _prompting(config: Config, run: RunEntry) -> PromptSettings:
    prompting = PromptSettings(**config.references[run.reference].only(PromptSettings))
    # The configuration's checks refuse runs with longer prompts than their reference.
    return prompting.changed(max_prompt_tokens=run.max_prompt_tokens or prompting.max_prompt_tokens)


def _inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """Reference, prompts, and, if used, V*, a selection and validation prompts."""
    run = config.runs[wildcards["run"]]
    inputs: Inputs = {
        "reference": reference_path(run.reference),
        "dataset": dataset_path(run.dataset),
        **verifier_files(config.datasets[run.dataset]),
    }
    if run.validation is not None:
        inputs["validation"] = dataset_path(run.validation)
        files = verifier_files(config.datasets[run.validation])
        inputs |= {f"validation_{name}": path for name, path in files.items()}
    if run.selection is not None:
        inputs["selection"] = selection_path(run.selection)
    value = run.estimate_name()
    if value is not None:
        inputs["values"] = value_path(value)
    return inputs


def _modules(config: Config, wildcards: Wildcards) -> Chosen:
    """The run's method and engines, adapters, estimators if V* is re-estimated, and custom verifiers."""
    run = config.runs[wildcards["run"]]
    datasets = [run.dataset, *([run.validation] if run.validation is not None else [])]
    return merge_modules(
        (METHODS.modules[run.method],),
        sampling_modules(config, run.reference),
        DEEPSPEED_MODULES if run.engine == "deepspeed" else (),
        LORA_MODULES if run.lora is not None else (),
        ESTIMATE_MODULES if _updated_estimate(config, run) is not None else (),
        *(verifier_modules(config.datasets[name]) for name in datasets),
    )


def _packages(config: Config, wildcards: Wildcards) -> tuple[str, ...]:
    run = config.runs[wildcards["run"]]
    return (
        *sampling_packages(config, run.reference),
        *(("deepspeed",) if run.engine == "deepspeed" else ()),
        *packages_of(run.lora),
    )


def _record(wildcards: Wildcards) -> str:
    """The manifest of the training, or that of a kept step, which is made from the same."""
    run, seed = wildcards["run"], int(wildcards["seed"])
    folder = step_folder(run, seed, int(wildcards["step"])) if "step" in wildcards else training_folder(run, seed)
    return f"{folder}/manifest.json"


STAGES = {"train_policy": Stage(_settings, _inputs, _modules, _packages, _record)}
