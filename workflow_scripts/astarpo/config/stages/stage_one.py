"""The stages from a model to V*: the reference, its samples, their grades, selections and estimates."""

from __future__ import annotations

from astarpo.common.code import Chosen
from astarpo.config.paths import block_path, dataset_path, reference_path, selection_path, value_path
from astarpo.config.runs import Config
from astarpo.config.samples import blocks, sampling_of
from astarpo.config.schema import SelectionEntry, ValueEntry
from astarpo.config.stages.data import source_files
from astarpo.config.stages.modules import (
    ESTIMATE_MODULES,
    sampling_modules,
    sampling_packages,
    verifier_files,
    verifier_modules,
)
from astarpo.config.stages.stage import Inputs, Stage, Wildcards
from astarpo.data.settings import ChatSettings, PromptSettings
from astarpo.model.files import files_of
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import (
    BlockSampling,
    BlockSettings,
    GenerationSettings,
    ImportedSamplesSettings,
    ImportSettings,
    PolicySettings,
    SampleReferenceSettings,
)
from astarpo.stage_one.settings import (
    LocalModel,
    ReferenceSettings,
    SelectionSettings,
    ValueSettings,
    WarmStartSettings,
)


def _reference_settings(config: Config, wildcards: Wildcards) -> ReferenceSettings:
    entry = config.references[wildcards["reference"]]
    settings = ReferenceSettings(
        **entry.only(ChatSettings), source=entry.source, attention=entry.attention, end_texts=entry.end_texts
    )
    if entry.warm_start is None:
        return settings
    return settings.changed(
        warm_start=WarmStartSettings(**entry.warm_start.only(WarmStartSettings)),
        max_prompt_tokens=entry.max_prompt_tokens,
        torch_threads=entry.torch_threads,
    )


def _reference_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The data set of the warm start, if any, and the files of a local model."""
    entry = config.references[wildcards["reference"]]
    inputs: Inputs = {}
    if entry.warm_start is not None:
        inputs["dataset"] = dataset_path(entry.warm_start.dataset)
    if isinstance(entry.source, LocalModel):
        inputs["model_files"] = [str(path) for path in files_of(entry.source.path, entry.source.gguf_file)]
    return inputs


def _reference_record(wildcards: Wildcards) -> str:
    return reference_path(wildcards["reference"])


def _sample_settings(config: Config, wildcards: Wildcards) -> SampleReferenceSettings:
    """Sampling settings without `max_samples`, so that raising it does not repeat finished blocks."""
    generation = generation_settings(config, wildcards["reference"])
    sampling = BlockSampling(**sampling_of(config, wildcards["dataset"]).only(BlockSampling))
    return SampleReferenceSettings(**generation.only(GenerationSettings), sampling=sampling)


def _sample_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The reference and the prompts."""
    return {"reference": reference_path(wildcards["reference"]), "dataset": dataset_path(wildcards["dataset"])}


def _sample_modules(config: Config, wildcards: Wildcards) -> Chosen:
    return sampling_modules(config, wildcards["reference"])


def _sample_packages(config: Config, wildcards: Wildcards) -> tuple[str, ...]:
    return sampling_packages(config, wildcards["reference"])


def _block_record(wildcards: Wildcards) -> str:
    return block_path(wildcards["reference"], wildcards["dataset"], wildcards["block"], "manifest.json")


def _import_settings(config: Config, wildcards: Wildcards) -> ImportSettings:
    name = wildcards["dataset"]
    samples = config.datasets[name].samples
    assert samples is not None, f"the rule's wildcards match only data sets with samples: {name}"
    return ImportSettings(
        samples=ImportedSamplesSettings(**samples.only(ImportedSamplesSettings)),
        sampling=BlockSettings(**sampling_of(config, name).only(BlockSettings)),
    )


def _import_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """The prompts, and the files of local samples."""
    samples = config.datasets[wildcards["dataset"]].samples
    files = {} if samples is None else source_files(samples.source)
    return {"dataset": dataset_path(wildcards["dataset"]), **files}


def _grade_settings(config: Config, wildcards: Wildcards) -> GradingSettings:
    return config.datasets[wildcards["dataset"]].grading


def _grade_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """A block's responses, and the gold answers."""
    dataset = wildcards["dataset"]
    return {
        "generations": block_path(wildcards["reference"], dataset, wildcards["block"], "parquet"),
        "problems": dataset_path(dataset),
        **verifier_files(config.datasets[dataset]),
    }


def _grade_modules(config: Config, wildcards: Wildcards) -> Chosen:
    return verifier_modules(config.datasets[wildcards["dataset"]])


def _grade_record(wildcards: Wildcards) -> str:
    return block_path(wildcards["reference"], wildcards["dataset"], wildcards["block"], "graded.parquet")


def _selection_settings(config: Config, wildcards: Wildcards) -> SelectionSettings:
    return SelectionSettings(**config.selections[wildcards["selection"]].only(SelectionSettings))


def _selection_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    return {"graded": graded_blocks(config, config.selections[wildcards["selection"]])}


def _selection_record(wildcards: Wildcards) -> str:
    return selection_path(wildcards["selection"])


def _value_settings(config: Config, wildcards: Wildcards) -> ValueSettings:
    return ValueSettings(**config.values[wildcards["value"]].only(ValueSettings))


def _value_inputs(config: Config, wildcards: Wildcards) -> Inputs:
    """Grades, and the responses, whose log-probabilities are read."""
    entry = config.values[wildcards["value"]]
    return {"graded": graded_blocks(config, entry), "generations": sampled_blocks(config, entry)}


def _value_modules(config: Config, wildcards: Wildcards) -> Chosen:
    return ESTIMATE_MODULES


def _value_record(wildcards: Wildcards) -> str:
    return value_path(wildcards["value"])


def generation_settings(config: Config, reference: str) -> GenerationSettings:
    """Return the settings for sampling from a reference, or from a policy trained from it."""
    entry = config.references[reference]
    return GenerationSettings(
        **entry.only(PolicySettings),
        torch_threads=entry.torch_threads,
        prompting=PromptSettings(**entry.only(PromptSettings)),
    )


def graded_blocks(config: Config, entry: ValueEntry | SelectionEntry) -> list[str]:
    """List the graded blocks with the samples of an estimate or selection."""
    names = blocks(config, entry)
    return [block_path(entry.reference, entry.dataset, block, "graded.parquet") for block in names]


def sampled_blocks(config: Config, entry: ValueEntry) -> list[str]:
    """List the blocks with the samples of an estimate."""
    names = blocks(config, entry)
    return [block_path(entry.reference, entry.dataset, block, "parquet") for block in names]


STAGES = {
    "prepare_reference": Stage(_reference_settings, _reference_inputs, record=_reference_record),
    "sample_reference": Stage(_sample_settings, _sample_inputs, _sample_modules, _sample_packages, _block_record),
    "import_samples": Stage(_import_settings, _import_inputs, record=_block_record),
    "grade_samples": Stage(_grade_settings, _grade_inputs, _grade_modules, record=_grade_record),
    "select_prompts": Stage(_selection_settings, _selection_inputs, record=_selection_record),
    "estimate_values": Stage(_value_settings, _value_inputs, _value_modules, record=_value_record),
    "forecast_noise": Stage(_value_settings, _value_inputs, _value_modules),
}
