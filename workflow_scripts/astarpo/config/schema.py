"""The configuration as types: every key, what it means, what it may be and what it is if left out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from astarpo.config.kinds import (
    AdamBetas,
    BelowOne,
    Beta1,
    Count,
    DataFiles,
    LearningRate,
    Mark,
    Name,
    Names,
    NotNegative,
    Positive,
    PositiveShare,
    RegularExpression,
    Schedule,
    Seed,
    Share,
    Temperature,
    Text,
    Texts,
)


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are errors that name the nearest known key; numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for key in value:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else "."
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key '{key}'{hint} Known here: {known}",
                    {"key": key, "hint": hint, "known": ", ".join(sorted(cls.model_fields))},
                )
        # Strict types take no list for an (immutable) tuple, and YAML has nothing but lists.
        return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}


class ChainSums(Section):
    """Generated problems: sums and differences of integers, worked out step by step."""

    kind: Literal["chain_sum"]
    count: Count = Field(description="problems drawn, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_terms: Annotated[int, Field(ge=2)] = Field(2, description="fewest terms of a problem")
    max_terms: Annotated[int, Field(ge=2)] = Field(5, description="most terms of a problem")
    min_digits: Count = Field(1, description="fewest digits of a term")
    max_digits: Count = Field(1, description="most digits of a term")


class Countdowns(Section):
    """Generated problems: reach a target from given numbers by + - * /, each number used once."""

    kind: Literal["countdown"]
    count: Count = Field(description="problems drawn, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_numbers: Annotated[int, Field(ge=2)] = Field(3, description="fewest numbers of a problem")
    max_numbers: Annotated[int, Field(ge=2)] = Field(4, description="most numbers of a problem")
    max_value: Count = Field(99, description="largest number")
    max_target: Count = Field(99, description="largest target")


class LocalFile(Section):
    """A file of yours: JSON Lines or parquet, a row a problem."""

    kind: Literal["local"]
    path: DataFiles = Field(description="the file, `.jsonl` or `.parquet`; a list of files is read one after the other")


class HubData(Section):
    """A data set of the Hugging Face hub."""

    kind: Literal["hub"]
    id: Text = Field(description="for example `openai/gsm8k`")
    name: Text | None = Field(None, description="configuration of the data set, if it has several")
    split: Text = Field(description="for example `train`")
    revision: Text | None = Field(None, description="commit or tag; without it the newest is taken")


DataSource = Annotated[ChainSums | Countdowns | LocalFile | HubData, Field(discriminator="kind")]


class Columns(Section):
    """Which columns of the source are what."""

    problem: Text = Field("problem", description="the problem's text")
    gold: Text = Field("gold", description="the right answer")
    verifier: Text | None = Field(None, description="a verifier's name in each row, for the verifier `multiple`")
    worked_solution: Text | None = Field(
        None, description="a step-by-step solution, for a warm start; null if there is none"
    )
    gold_after: Mark | None = Field(
        None, description="the answer is what follows the last of these marks, for GSM8K `####`"
    )
    gold_boxed: bool = Field(
        False,
        description="the answer is what the last `\\boxed{}` holds, for MATH; without, dropped",
    )
    worked_solution_remove: RegularExpression | None = Field(
        None, description="what matches is cut out of solutions, for GSM8K's marks `<<[^>]*>>`"
    )


class Grading(Section):
    """How verdicts become rewards."""

    truncated: Literal["incorrect", "as_judged"] = Field(
        "incorrect",
        description="a response cut at max_new_tokens is wrong, or judged like any other",
    )
    max_null_rate: Share = Field(
        0.02,
        description="the stage fails if more of the last 1,000 grades are null (timeout, error)",
    )
    min_nulls: Count = Field(20, description="fewer null grades than this never fail a stage")
    timeout_s: Positive = Field(
        5.0,
        description="CPU seconds that judging one response may take, however busy the machine is; more is a null grade",
    )
    wall_timeout_s: Positive | None = Field(
        None,
        description="wall-clock seconds that it may take, for verifiers that wait; null is ten times `timeout_s`, "
        "and at least 60",
    )


class StageOneSampling(Section):
    """How the reference policy is sampled in stage 1, and the policy in stage 2."""

    temperature: Temperature = Field(1.0, description="log-probabilities are divided by it as well")
    top_p: Share = Field(1.0, description="must be 1 for training: else another policy is trained than sampled")
    max_new_tokens: Count = Field(description="a response is cut there")
    base_seed: Seed = Field(0, description="of stage 1; the seed of each response is derived from it")
    block_size: Count = Field(8, description="samples a prompt in one job of stage 1")
    max_samples: Count = Field(8, description="bound of every N; raising it draws the new blocks only")
    prompt_shards: Count = Field(1, description="jobs that the prompts of a block are spread over")


class ImportedSamples(Section):
    """Samples that somebody has drawn already, taken over in place of stage 1's sampling; no model is loaded.

    `{i}` in a column's name counts from 0: one row a problem, with columns such as `response_0` to `response_7`.
    Without `{i}` a row is one response. They must be of this reference, at the temperature under `sampling`:
    nobody can check that.
    """

    reference: Name = Field(description="the reference policy that the samples were drawn from")
    source: Annotated[LocalFile | HubData, Field(discriminator="kind")] = Field(description="where the samples are")
    problem: Text | None = Field(None, description="column of the problem's text, by which samples find their prompt")
    prompt: Text | None = Field(
        None,
        description="the same with the whole prompt's text (or its chat messages); give one of the two",
    )
    response: Text | None = Field(None, description="column of the response; it is graded like any other")
    reward: Text | None = Field(
        None,
        description="column of a reward of 0 or 1; counts where `response` is null, else is compared",
    )
    finish_reason: Text | None = Field(
        None, description="column of `stop` or `length`; null: taken as ended by themselves"
    )
    max_unmatched: BelowOne = Field(0.0, description="share of the data set's prompts that may be without samples")


class TaskEntry(Section):
    """What data sets and benchmarks have in common."""

    source: DataSource = Field(description="where the problems come from")
    columns: Columns = Field(Columns(), description="which columns of the source are what")
    hash_range: tuple[Share, Share] = Field(
        (0.0, 1.0),
        description="keep problems whose text hashes into [low, high): disjoint ranges, disjoint data",
    )
    max_prompts: Count | None = Field(None, description="keep the first so many; null keeps all")
    drop_duplicates: bool = Field(True, description="drop problems whose text was there before")
    template: str = Field("{problem}", description="the prompt; `{problem}` is replaced")
    verifier: str = Field(
        description="what judges responses: `math`, `gsm8k`, `gsm8k_flexible`, `integer`, `countdown`, `multiple`, "
        "or a function of yours, `path/to/file.py:function`"
    )
    grading: Grading = Field(Grading(), description="how verdicts become rewards")


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
        None, description="samples to take over in place of drawing them; null: draw"
    )


class Protocol(Section):
    """One way to ask a benchmark's questions."""

    temperature: NotNegative = Field(description="0 is greedy; otherwise at least 0.01")
    top_p: PositiveShare = Field(1.0, description="nucleus; 1 is off")
    k: Count = Field(1, description="responses a problem")
    max_new_tokens: Count = Field(description="a response is cut there")
    seed: Seed = Field(0, description="the seed of each response is derived from it")


class BenchmarkEntry(TaskEntry):
    """Problems that policies are compared on."""

    protocols: Annotated[dict[Name, Protocol], Field(min_length=1)] = Field(description="ways to ask, by name")


class Scratch(Section):
    """A small decoder of the Qwen2 architecture with random weights; only a warm start makes it useful."""

    kind: Literal["scratch"]
    seed: Seed = Field(0, description="of the random weights")
    layers: Count = Field(description="decoder layers")
    hidden_size: Count = Field(
        description="width, a multiple of `heads`; hidden_size / heads must be even (rotary embeddings)"
    )
    intermediate_size: Count = Field(description="width of the feed-forward layers")
    heads: Count = Field(description="attention heads")
    kv_heads: Count = Field(description="key and value heads; divides `heads`")
    max_positions: Count = Field(description="longest prompt and response together, in tokens")
    whole_tokens: Texts = Field((), description="texts that are one token each")


class HubModel(Section):
    """A model of the Hugging Face hub."""

    kind: Literal["hub"]
    id: Text = Field(description="for example `Qwen/Qwen2.5-1.5B`")
    revision: Text | None = Field(None, description="commit or tag; without it the newest is taken")


class LocalModel(Section):
    """A model folder of yours, as `save_pretrained` writes it."""

    kind: Literal["local"]
    path: Text = Field(description="the folder")


ModelSource = Annotated[Scratch | HubModel | LocalModel, Field(discriminator="kind")]


class WarmStart(Section):
    """Supervised steps on worked solutions before anything else."""

    dataset: Name = Field(description="a data set with worked solutions")
    steps: Count = Field(description="optimizer steps")
    batch_size: Count = Field(description="solutions in a step; no more than the data set can have")
    lr: LearningRate = Field(description="highest learning rate")
    lr_schedule: Schedule = Field("cosine", description="how it goes on after the warm-up")
    lr_warmup_steps: int = Field(0, ge=0, description="steps of linear rise, at most `steps`")
    adam_betas: AdamBetas = Field((0.9, 0.999), description="of AdamW")
    weight_decay: NotNegative = Field(0.01, description="of AdamW")
    max_grad_norm: Positive = Field(1.0, description="gradients are clipped to this norm")
    seed: Seed = Field(0, description="of the order of the solutions")


class ReferenceEntry(Section):
    """A reference policy: where training starts, and what it is held to."""

    source: ModelSource = Field(description="where the model comes from")
    warm_start: WarmStart | None = Field(None, description="supervised steps; null for none")
    chat_template: bool = Field(False, description="wrap prompts in the tokenizer's chat template")
    system_prompt: str | None = Field(None, description="a system message; needs chat_template")
    max_prompt_tokens: Count = Field(description="longer prompts are dropped and counted, never cut")
    sampling_engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="what draws responses, in trainings as well; vLLM is for models that take long",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of forward passes of reference and policy alike; master weights are float32",
    )
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = Field(
        "sdpa",
        description="how transformers computes attention, in sampling and training alike; models that cap their "
        "attention scores, such as Gemma 2, need `eager`; flash attention needs its package. vLLM uses its own",
    )
    torch_threads: Count = Field(1, description="CPU threads of warm start and sampling; they can change last bits")


class ValueEntry(Section):
    """An estimate of V* from the first `n` samples of each prompt."""

    reference: Name = Field(description="whose samples")
    dataset: Name = Field(description="of which prompts")
    n: Count = Field(8, description="N, samples a prompt")
    beta1: Beta1 = Field(0.5, description="temperature of stage 1; for its limit to infinity use estimator `mean`")
    estimator: Literal["log_mean_exp", "mean", "zero", "jeffreys"] = Field(
        "log_mean_exp", description="`log_mean_exp` is the paper's"
    )


class SelectionEntry(Section):
    """Which prompts are trained on, judged by the reference's samples."""

    reference: Name = Field(description="whose samples")
    dataset: Name = Field(description="of which prompts")
    n: Count = Field(8, description="samples a prompt that are looked at; `undecided` needs 2")
    rule: Literal["solved", "undecided"] = Field(
        "solved",
        description="`solved`: right at least once; `undecided`: right at least once, but not always",
    )
