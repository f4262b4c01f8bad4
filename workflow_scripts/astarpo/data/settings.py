"""Settings of the data: sources, columns, filters, near duplicates and prompts."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from astarpo.common.kinds import (
    Count,
    DataFiles,
    Distinct,
    Mark,
    PositiveShare,
    RegularExpression,
    Seed,
    Share,
    Text,
    Texts,
)
from astarpo.common.settings import Section


class ChainSums(Section):
    """Generated problems: sums and differences of integers, worked out step by step."""

    kind: Literal["chain_sum"]
    count: Count = Field(description="number of problems, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_terms: Annotated[int, Field(ge=2)] = Field(2, description="fewest terms in a problem")
    max_terms: Annotated[int, Field(ge=2)] = Field(5, description="most terms in a problem")
    min_digits: Count = Field(1, description="fewest digits in a term")
    max_digits: Count = Field(1, description="most digits in a term")


class Countdowns(Section):
    """Generated problems: reach a target from given numbers with + - * /, using each number once."""

    kind: Literal["countdown"]
    count: Count = Field(description="number of problems, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    min_numbers: Annotated[int, Field(ge=2)] = Field(3, description="fewest numbers in a problem")
    max_numbers: Annotated[int, Field(ge=2)] = Field(4, description="most numbers in a problem")
    max_value: Count = Field(99, description="largest number")
    max_target: Count = Field(99, description="largest target")


ArithmeticKind = Literal["one-digit sum", "times table", "two-digit sum", "two-digit difference"]


class Arithmetic(Section):
    """Generated problems of short arithmetic as the beginning of a line, such as `3 + 6 =`.

    Problems that differ in the order of their numbers are always in the same hash range.
    """

    kind: Literal["arithmetic"]
    count: Count = Field(description="number of problems, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    kinds: Annotated[tuple[ArithmeticKind, ...], Field(min_length=1), Distinct] = Field(
        ("one-digit sum", "times table", "two-digit sum", "two-digit difference"),
        description="kinds of problems, in turn; also the column `problem_kind`",
    )
    leave_out: Texts = Field(
        (), description="problems that are not generated, in either order, such as those that the template shows"
    )


class MultiplesAbove(Section):
    """Generated problems with many right answers: `a multiple of 7 above 23, at most 123`.

    The worked solution is one of the right answers, drawn at random for each row. With `drop_duplicates: false` a
    problem keeps all its rows, and a warm start on them teaches many answers to it. The column `level` is the factor.
    """

    kind: Literal["multiple_above"]
    count: Count = Field(description="number of rows, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems and solutions")
    factors: Annotated[tuple[Count, ...], Field(min_length=1), Distinct] = Field(
        (2, 5, 3, 7, 13), description="whose multiples are asked for, in turn; the larger, the harder to guess"
    )
    largest: Count = Field(999, description="largest right answer of any problem")
    span: Count = Field(100, description="difference of a problem's bounds; their place is drawn at random")


WordProblemKind = Literal[
    "sum, sum",
    "sum, difference",
    "difference, sum",
    "product, sum",
    "product, difference",
    "sum, product",
    "quotient, sum",
    "quotient, difference",
]


class WordProblems(Section):
    """Generated word problems of two steps, with worked solutions that end in `#### ` and the answer, as in GSM8K.

    Problems that differ in names and things alone are always in the same hash range.
    """

    kind: Literal["word_problem"]
    count: Count = Field(description="number of problems, before duplicates are dropped")
    seed: Seed = Field(0, description="the same seed gives the same problems")
    kinds: Annotated[tuple[WordProblemKind, ...], Field(min_length=1), Distinct] = Field(
        get_args(WordProblemKind), description="kinds of problems by their steps, in turn; also `problem_kind`"
    )
    largest: Annotated[int, Field(ge=4)] = Field(
        50, description="largest number in a sum or difference; factors go up to 9"
    )


class LocalFile(Section):
    """Local files: JSON Lines or parquet, one problem per row."""

    kind: Literal["local"]
    path: DataFiles = Field(description="a `.jsonl` or `.parquet` file, or a list of files, read in order")


class HubData(Section):
    """A data set on the Hugging Face hub."""

    kind: Literal["hub"]
    id: Text = Field(description="for example `openai/gsm8k`")
    name: Text | None = Field(None, description="the data set's configuration, if it has several")
    split: Text = Field(description="for example `train`")
    revision: Text | None = Field(None, description="commit or tag; null takes the newest")


GeneratedTask = Arithmetic | ChainSums | Countdowns | MultiplesAbove | WordProblems
DataSource = Annotated[GeneratedTask | LocalFile | HubData, Field(discriminator="kind")]


class Columns(Section):
    """The source's columns."""

    problem: Text = Field("problem", description="column of the problem")
    gold: Text = Field("gold", description="column of the gold answer")
    verifier: Text | None = Field(None, description="column with a verifier's name, for the verifier `multiple`")
    worked_solution: Text | None = Field(
        None, description="column of a step-by-step solution, for a warm start; null if there is none"
    )
    problem_kind: Text | None = Field(
        None, description="column of the kind of problem, such as MATH's `subject`; scores are also shown by kind"
    )
    level: Text | None = Field(None, description="column of the difficulty, such as MATH's `level`")
    gold_after: Mark | None = Field(
        None, description="the answer follows the last occurrence of this mark; `####` for GSM8K"
    )
    gold_boxed: bool = Field(
        False,
        description="the answer is in the last `\\boxed{}`, as in MATH; rows without one are dropped",
    )
    worked_solution_remove: RegularExpression | None = Field(
        None, description="matches are removed from solutions; `<<[^>]*>>` for GSM8K"
    )


class Contamination(Section):
    """What counts as a near duplicate between a training set and a benchmark; always reported."""

    ngram: Count = Field(8, description="consecutive words, numbers and signs that are compared")
    threshold: PositiveShare = Field(0.7, description="share of the shorter problem's n-grams that the other also has")


class RandomReward(Section):
    """The coin of the verifier `random`."""

    share: PositiveShare = Field(0.5, description="probability that a response is correct, whatever it says")
    seed: Seed = Field(0, description="other seeds make other responses correct")


class TaskSettings(Section):
    """Settings of `prepare_benchmark`; those of `prepare_dataset` are `DatasetSettings`."""

    source: DataSource = Field(description="where the problems come from")
    columns: Columns = Field(Columns(), description="the source's columns")
    hash_range: tuple[Share, Share] = Field(
        (0.0, 1.0),
        description="keep problems whose text hashes into [low, high); disjoint ranges give disjoint data",
    )
    max_prompts: Count | None = Field(None, description="keep the first N; null keeps all")
    drop_duplicates: bool = Field(True, description="drop problems whose text has occurred before")
    template: str = Field("{problem}", description="the prompt; `{problem}` stands for the problem")
    verifier: str = Field(
        description="what grades responses: `math`, `gsm8k`, `gsm8k_flexible`, `integer`, `countdown`, "
        "`multiple_above`, `multiple`, `random` (a coin, as a control), or a custom function, "
        "`path/to/file.py:function`"
    )
    random_reward: RandomReward | None = Field(None, description="the coin of verifier `random`; null: its defaults")


class Decontamination(Contamination):
    """Which problems of benchmarks are dropped from a data set."""

    near: bool = True


class DatasetSettings(TaskSettings):
    """Settings of `prepare_dataset`; `decontaminate` only if problems of a benchmark are dropped."""

    decontaminate: Decontamination | None = None


class ChatSettings(Section):
    """Whether prompts are chat messages."""

    chat_template: bool = Field(False, description="wrap prompts in the tokenizer's chat template")
    system_prompt: str | None = Field(None, description="a system message; needs chat_template")


class PromptSettings(ChatSettings):
    """How prompts are encoded."""

    max_prompt_tokens: Count = Field(description="longer prompts are dropped and counted, never cut")
