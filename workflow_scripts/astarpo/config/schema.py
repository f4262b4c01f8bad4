"""The configuration as types, first part: data, references, estimates and selections.

An entry is its stage's settings with the names of other entries beside them.
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
    ModelSource,
    SelectionSettings,
    ValueSettings,
    WarmStartSettings,
)


class ImportedSamples(ImportedSamplesSettings):
    """Existing samples, used in place of stage 1's sampling; no model is loaded.

    `{i}` in a column's name counts from 0: one row a problem, with columns such as `response_0` to `response_7`.
    Without `{i}` a row is one response. They must be of this reference, at the temperature under `sampling`:
    nobody can check that.
    """

    reference: Name = Field(description="the reference policy that the samples were drawn from")


class StageOneSampling(BlockSampling):
    """How the reference policy is sampled in stage 1, and the policy in stage 2."""

    max_samples: Count = Field(8, description="upper bound of every N; raising it draws only the new blocks")


class TaskEntry(TaskSettings):
    """What data sets and benchmarks have in common."""

    grading: GradingSettings = Field(GradingSettings(), description="how verdicts become rewards")


class DatasetEntry(TaskEntry):
    """Problems to train on, to validate with, or to start a model from."""

    sampling: StageOneSampling | None = Field(
        None, description="how responses are drawn; needed where a run or stage 1 uses the data set"
    )
    decontaminate: Names = Field((), description="benchmarks whose problems are dropped from this data set")
    decontaminate_near: bool = Field(
        True, description="drop near duplicates as well, see `contamination`; else exact ones only"
    )
    samples: ImportedSamples | None = Field(
        None, description="existing samples to use instead of drawing them; null: draw"
    )


class BenchmarkEntry(TaskEntry):
    """Problems that policies are compared on."""

    protocols: Annotated[dict[Name, Protocol], Field(min_length=1)] = Field(
        description="protocols by name: ways to ask the questions"
    )


class WarmStart(WarmStartSettings):
    """Supervised steps on worked solutions before anything else."""

    dataset: Name = Field(description="a data set with worked solutions")


class ReferenceEntry(PolicySettings, PromptSettings):
    """A reference policy: where training starts, and what it is held to."""

    source: ModelSource = Field(description="where the model comes from")
    warm_start: WarmStart | None = Field(None, description="supervised steps; null for none")
    attention: Attention = Field(
        "sdpa",
        description="how transformers computes attention, in sampling and training alike; models that cap their "
        "attention scores, such as Gemma 2, need `eager`; flash attention needs its package. vLLM uses its own",
    )
    torch_threads: Count = Field(
        1, description="CPU threads of warm start and sampling; can change the last bits of a result"
    )


class ValueEntry(ValueSettings):
    """An estimate of V* from the first `n` samples of each prompt."""

    reference: Name = Field(description="reference whose samples are used")
    dataset: Name = Field(description="data set whose prompts are used")


class SelectionEntry(SelectionSettings):
    """Which prompts are trained on, judged by the reference's samples."""

    reference: Name = Field(description="reference whose samples are used")
    dataset: Name = Field(description="data set whose prompts are used")
