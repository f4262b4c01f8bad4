"""The settings of drawing responses: of single ones, of stage 1's blocks, and of a benchmark's answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import BelowOne, Count, NotNegative, PositiveShare, Seed, Share, Temperature, Text
from astarpo.common.settings import Section
from astarpo.data.settings import HubData, LocalFile, PromptSettings


class SamplingSettings(Section):
    """How the tokens of one response are drawn; temperature 0 takes the likeliest."""

    temperature: NotNegative
    top_p: Share
    max_new_tokens: Count


class BlockSettings(Section):
    """How stage 1 is cut into jobs."""

    block_size: Count = Field(8, description="samples per prompt in one job of stage 1")
    prompt_shards: Count = Field(1, description="jobs that the prompts of a block are spread over")


class BlockSampling(BlockSettings):
    """How the reference policy is sampled in stage 1, and the policy in stage 2."""

    temperature: Temperature = Field(1.0, description="log-probabilities are divided by it as well")
    top_p: Share = Field(1.0, description="must be 1 for training: else another policy is trained than sampled")
    max_new_tokens: Count = Field(description="responses are cut at this length")
    base_seed: Seed = Field(0, description="seed of stage 1, from which that of each response is derived")


class ImportedSamplesSettings(Section):
    """Where samples that were drawn elsewhere are, and which column holds what."""

    source: Annotated[LocalFile | HubData, Field(discriminator="kind")] = Field(description="where the samples are")
    problem: Text | None = Field(None, description="column of the problem's text, by which samples find their prompt")
    prompt: Text | None = Field(
        None,
        description="the same, with the text of the whole prompt (or its chat messages); give one of the two",
    )
    response: Text | None = Field(None, description="column of the response; it is graded like any other")
    reward: Text | None = Field(
        None,
        description="column of a reward of 0 or 1; it counts where `response` is null, and is only compared elsewhere",
    )
    finish_reason: Text | None = Field(
        None, description="column with `stop` or `length`; null: all responses count as ended by themselves"
    )
    max_unmatched: BelowOne = Field(0.0, description="share of the data set's prompts that may be without samples")


class ImportSettings(Section):
    """Settings of `import_samples`."""

    samples: ImportedSamplesSettings
    sampling: BlockSettings


class Protocol(Section):
    """One way to ask a benchmark's questions."""

    temperature: NotNegative = Field(description="0 is greedy; otherwise at least 0.01")
    top_p: PositiveShare = Field(1.0, description="nucleus sampling; 1 turns it off")
    k: Count = Field(1, description="responses per problem")
    max_new_tokens: Count = Field(description="responses are cut at this length")
    seed: Seed = Field(0, description="the seed of each response is derived from it")


class PolicySettings(Section):
    """How a reference, and every policy trained from it, is computed with."""

    sampling_engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="what draws responses, in trainings as well; vLLM pays off for large models",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of forward passes, of reference and policy alike; master weights are float32",
    )


class GenerationSettings(PolicySettings):
    """What a stage that draws responses needs to know of the policy."""

    torch_threads: Count
    prompting: PromptSettings


class SampleReferenceSettings(GenerationSettings):
    """Settings of `sample_reference`."""

    sampling: BlockSampling


class GenerateAnswersSettings(GenerationSettings):
    """Settings of `generate_answers`."""

    protocol: Protocol


def how_to_sample(section: BlockSampling | Protocol) -> SamplingSettings:
    """What an engine needs to know of stage 1's sampling or of a protocol."""
    return SamplingSettings(temperature=section.temperature, top_p=section.top_p, max_new_tokens=section.max_new_tokens)
