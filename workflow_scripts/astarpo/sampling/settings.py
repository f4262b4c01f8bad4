"""Settings of sampling: of one response, of stage 1's blocks, and of a benchmark's answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import BelowOne, Count, NotNegative, PositiveShare, Seed, Share, Temperature, Text
from astarpo.common.settings import Section
from astarpo.data.settings import HubData, LocalFile, PromptSettings


class SamplingSettings(Section):
    """How the tokens of one response are drawn; temperature 0 takes the most likely one."""

    temperature: NotNegative
    top_p: Share
    max_new_tokens: Count


class BlockSettings(Section):
    """How stage 1 is split into jobs."""

    block_size: Count = Field(8, description="samples per prompt in one job of stage 1")
    prompt_shards: Count = Field(1, description="number of jobs that share the prompts of a block")


class BlockSampling(BlockSettings):
    """How the reference policy is sampled in stage 1, and the policy in stage 2."""

    temperature: Temperature = Field(1.0, description="log-probabilities are divided by it as well")
    top_p: Share = Field(
        1.0, description="must be 1 for training, or the trained policy would differ from the sampled one"
    )
    max_new_tokens: Count = Field(description="responses are cut off at this length")
    base_seed: Seed = Field(0, description="seed of stage 1; the seed of each response is derived from it")


class ImportedSamplesSettings(Section):
    """Where to find samples drawn elsewhere, and which column holds what."""

    source: Annotated[LocalFile | HubData, Field(discriminator="kind")] = Field(description="where to find the samples")
    problem: Text | None = Field(
        None, description="column of the problem's text, by which samples are matched with prompts"
    )
    prompt: Text | None = Field(
        None,
        description="instead of `problem`: column of the whole prompt (text or chat messages); give one of the two",
    )
    response: Text | None = Field(None, description="column of the response; it is graded like any other")
    reward: Text | None = Field(
        None,
        description="column of a reward of 0 or 1; used if `response` is null, otherwise only compared with the grade",
    )
    finish_reason: Text | None = Field(
        None, description="column with `stop` or `length`; null: all responses count as complete"
    )
    max_unmatched: BelowOne = Field(0.0, description="largest share of the data set's prompts that may lack samples")


class ImportSettings(Section):
    """Settings of `import_samples`."""

    samples: ImportedSamplesSettings
    sampling: BlockSettings


class Protocol(Section):
    """One way to ask a benchmark's questions."""

    temperature: NotNegative = Field(description="0 is greedy; otherwise at least 0.01")
    top_p: PositiveShare = Field(1.0, description="nucleus sampling; 1 turns it off")
    k: Count = Field(1, description="responses per problem")
    max_new_tokens: Count = Field(description="responses are cut off at this length")
    seed: Seed = Field(0, description="the seed of each response is derived from it")


class PolicySettings(Section):
    """How a reference and every policy trained from it are run."""

    sampling_engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="engine that samples, in training as well; vLLM pays off for large models",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of forward passes, of reference and policy alike; master weights are float32",
    )


class GenerationSettings(PolicySettings):
    """What a stage that samples needs to know about the policy."""

    torch_threads: Count
    prompting: PromptSettings


class SampleReferenceSettings(GenerationSettings):
    """Settings of `sample_reference`."""

    sampling: BlockSampling


class GenerateAnswersSettings(GenerationSettings):
    """Settings of `generate_answers`."""

    protocol: Protocol


def how_to_sample(section: BlockSampling | Protocol) -> SamplingSettings:
    """The sampling settings of stage 1 or of a protocol, as an engine takes them."""
    return SamplingSettings(temperature=section.temperature, top_p=section.top_p, max_new_tokens=section.max_new_tokens)
