"""Types of configuration values: bounded numbers, texts, names, lists without repetitions.

`Section` makes sure that numbers are finite.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

LONGEST_NAME = 100  # some file names contain two names, and may have 255 bytes
LARGEST_SEED = 2**63 - 1
LEAST_TEMPERATURE = 0.01  # vLLM raises any lower temperature but 0 to this


def _yaml_number(value: object) -> object:
    """Convert ``1e-3``, which YAML 1.1 reads as a string, to the number that it means."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise PydanticCustomError(
            "regular_expression", "not a regular expression: {why}", {"why": str(error)}
        ) from None
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return value


def _distinct(values: Sequence[object]) -> Sequence[object]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise PydanticCustomError("repeated", "{value} is listed twice; list it once", {"value": repr(value)})
    return values


def _data_files(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    files = (value,) if isinstance(value, str) else value
    if not files:
        raise PydanticCustomError("no_file", "must name at least one file")
    for file in files:
        if not file.endswith((".jsonl", ".parquet")):
            which = "must" if isinstance(value, str) else f"{file!r} must"
            raise PydanticCustomError("kind_of_file", "{which} end in .jsonl or .parquet", {"which": which})
    _distinct(files)
    return value


def _in_order(steps: tuple[int, int]) -> tuple[int, int]:
    first, last = steps
    if first > last:
        raise PydanticCustomError("in_order", "the first step must not be above the last one")
    return steps


def _layers(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if not value or not all(name.strip() for name in value):
        raise PydanticCustomError("blank", "must not be empty or hold an empty name")
    _distinct(value)
    return value


# The constraint comes before the validator, or it would be missing from the schema and the documentation.
_READ = BeforeValidator(_yaml_number)
Positive = Annotated[float, Field(gt=0), _READ]
NotNegative = Annotated[float, Field(ge=0), _READ]
Share = Annotated[float, Field(ge=0, le=1), _READ]
BelowOne = Annotated[float, Field(ge=0, lt=1), _READ]
OpenShare = Annotated[float, Field(gt=0, lt=1), _READ]
PositiveShare = Annotated[float, Field(gt=0, le=1), _READ]
# 1.0e6 in place of 1.0e-6 is a common slip, and AdamW moves each weight by up to the rate.
LearningRate = Annotated[float, Field(gt=0, le=1), _READ]
LEAST_DIVISOR = 1e-30  # of advantages, in fp32
# Below, beta1 ln(...) is 1 for every prompt that was ever solved; far above, it is the pass rate.
Beta1 = Annotated[float, Field(ge=1e-6, le=1e6), _READ]
# Far smaller ones are 0 in fp32, and 0/0 for a weight whose gradient is 0.
AdamEpsilon = Annotated[float, Field(ge=1e-30, le=1), _READ]
Temperature = Annotated[float, Field(ge=LEAST_TEMPERATURE), _READ]
Inches = Annotated[float, Field(ge=1, le=100), _READ]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=LONGEST_NAME)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
Mark = Annotated[str, Field(min_length=1)]  # may be blank, such as a line break
RegularExpression = Annotated[str, Field(min_length=1), AfterValidator(_regular_expression)]

Distinct = AfterValidator(_distinct)
Names = Annotated[tuple[Name, ...], Distinct]
SomeNames = Annotated[tuple[Name, ...], Field(min_length=1), Distinct]
Texts = Annotated[tuple[Text, ...], Distinct]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
DataFiles = Annotated[str | tuple[str, ...], AfterValidator(_data_files)]
LayerNames = Annotated[Literal["all-linear"] | tuple[str, ...], AfterValidator(_layers)]
AdamBetas = tuple[BelowOne, BelowOne]
StepRange = Annotated[tuple[Count, Count], AfterValidator(_in_order)]  # the first and the last step

Schedule = Literal["constant", "linear", "cosine"]
