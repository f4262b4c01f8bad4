"""The types of the configuration, part one: data, references, estimates and selections.

An entry has its stage's settings and the names of other entries.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from astarpo.common.kinds import Count, Name, Names
from astarpo.data.settings import PromptSettings, TaskSettings
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import BlockSampling, ImportedSamplesSettings, PolicySettings, Protocol
from astarpo.stage_one.settings import (
    Attention,
    EndTexts,
    ModelSource,
    SelectionSettings,
    ValueSettings,
    WarmStartSettings,
)


class ImportedSamples(ImportedSamplesSettings):
    """Existing samples, used instead of sampling in stage 1; no model is loaded.

    With `{i}` in the column names, which counts from 0, a row is a problem, with columns such as `response_0` to
    `response_7`. Without `{i}`, a row is one response. The samples must come from this reference, at the temperature
    under `sampling`; the workflow cannot check that.
    """

    reference: Name = Field(description="the reference policy that generated the samples")


class StageOneSampling(BlockSampling):
    """Sampling from the reference policy in stage 1, and from the trained policy in stage 2."""

    max_samples: Count = Field(8, description="upper bound of every N; raising it samples only the new blocks")


class TaskEntry(TaskSettings):
    """Keys of data sets and benchmarks."""

    grading: GradingSettings = Field(GradingSettings(), description="how verdicts become rewards")


class DatasetEntry(TaskEntry):
    """Problems for training, validation or a warm start."""

    sampling: StageOneSampling | None = Field(
        None, description="how responses are sampled; required if a run or stage 1 uses the data set"
    )
    decontaminate: Names = Field((), description="benchmarks whose problems are dropped from this data set")
    decontaminate_near: bool = Field(
        True, description="also drop near duplicates, see `contamination`; false: only exact ones"
    )
    samples: ImportedSamples | None = Field(None, description="existing samples to import; null: sample in stage 1")


class BenchmarkEntry(TaskEntry):
    """Problems to evaluate policies on."""

    protocols: Annotated[dict[Name, Protocol], Field(min_length=1)] = Field(description="evaluation protocols by name")


class WarmStart(WarmStartSettings):
    """Supervised training on worked solutions before stage 1."""

    dataset: Name = Field(description="a data set with worked solutions")


class ReferenceEntry(PolicySettings, PromptSettings):
    """A reference policy, which training starts from and is regularised towards."""

    source: ModelSource = Field(description="where the model comes from")
    warm_start: WarmStart | None = Field(None, description="supervised training; null: none")
    attention: Attention = Field(
        "sdpa",
        description="transformers' attention implementation, for sampling and training; models that cap their "
        "attention scores, such as Gemma 2, need `eager`; flash attention needs its package; vLLM uses its own",
    )
    end_texts: EndTexts = Field(
        (),
        description="texts of one token each that also end a response, such as a line break after few-shot examples; a "
        "warm start teaches the first",
    )
    torch_threads: Count = Field(
        1, description="CPU threads of warm start and sampling; can change the last bits of a result"
    )


class ValueEntry(ValueSettings):
    """An estimate of V* from the first `n` samples of each prompt."""

    reference: Name = Field(description="reference whose samples are used")
    dataset: Name = Field(description="data set whose prompts are used")


class SelectionEntry(SelectionSettings):
    """A selection of training prompts by the reference's samples."""

    reference: Name = Field(description="reference whose samples are used")
    dataset: Name = Field(description="data set whose prompts are used")
