"""The settings of data: sources, columns, what is kept, what counts as a near duplicate, how prompts are written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import Count, DataFiles, Mark, PositiveShare, RegularExpression, Seed, Share, Text
from astarpo.common.settings import Section


class ChainSums(Section):
    """Generated problems: sums and differences of integers, worked out step by step."""

    kind: Literal["chain_sum"]
    count: Count = Field(description="problems to draw, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_terms: Annotated[int, Field(ge=2)] = Field(2, description="fewest terms of a problem")
    max_terms: Annotated[int, Field(ge=2)] = Field(5, description="most terms of a problem")
    min_digits: Count = Field(1, description="fewest digits of a term")
    max_digits: Count = Field(1, description="most digits of a term")


class Countdowns(Section):
    """Generated problems: reach a target from given numbers by + - * /, each number used once."""

    kind: Literal["countdown"]
    count: Count = Field(description="problems to draw, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_numbers: Annotated[int, Field(ge=2)] = Field(3, description="fewest numbers of a problem")
    max_numbers: Annotated[int, Field(ge=2)] = Field(4, description="most numbers of a problem")
    max_value: Count = Field(99, description="largest number")
    max_target: Count = Field(99, description="largest target")


class LocalFile(Section):
    """A file of your own: JSON Lines or parquet, one problem per row."""

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
    """Which column of the source holds what."""

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


class Contamination(Section):
    """What counts as a near duplicate between a training set and a benchmark; it is always reported."""

    ngram: Count = Field(8, description="words, numbers and signs in a row that are compared")
    threshold: PositiveShare = Field(
        0.7, description="share of n-grams of the shorter problem that the other has as well"
    )


class TaskSettings(Section):
    """Settings of `prepare_benchmark`; those of `prepare_dataset` are `DatasetSettings`."""

    source: DataSource = Field(description="where the problems come from")
    columns: Columns = Field(Columns(), description="which column of the source holds what")
    hash_range: tuple[Share, Share] = Field(
        (0.0, 1.0),
        description="keep problems whose text hashes into [low, high): disjoint ranges, disjoint data",
    )
    max_prompts: Count | None = Field(None, description="keep the first N; null keeps all")
    drop_duplicates: bool = Field(True, description="drop problems whose text occurred before")
    template: str = Field("{problem}", description="the prompt; `{problem}` is replaced")
    verifier: str = Field(
        description="what grades responses: `math`, `gsm8k`, `gsm8k_flexible`, `integer`, `countdown`, `multiple`, "
        "or a function of your own, `path/to/file.py:function`"
    )


class Decontamination(Contamination):
    """Which problems of benchmarks are dropped from a data set."""

    near: bool = True


class DatasetSettings(TaskSettings):
    """Settings of `prepare_dataset`; `decontaminate` only where problems of a benchmark are dropped."""

    decontaminate: Decontamination | None = None


class ChatSettings(Section):
    """Whether prompts are the messages of a chat."""

    chat_template: bool = Field(False, description="wrap prompts in the tokenizer's chat template")
    system_prompt: str | None = Field(None, description="a system message; needs chat_template")


class PromptSettings(ChatSettings):
    """How a model is asked."""

    max_prompt_tokens: Count = Field(description="longer prompts are dropped and counted, never cut")
