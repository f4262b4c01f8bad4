"""Settings of figures, one type for each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.cli import parse_settings
from astarpo.common.errors import InputError
from astarpo.common.kinds import Inches, Name, SomeNames, Text
from astarpo.common.settings import Section

Value = str | int | float | bool | None  # of a run's setting


class Figure(Section):
    """What every figure has."""

    width_in: Inches = Field(7.0, description="width in inches")
    height_in: Inches = Field(4.0, description="height in inches")
    dpi: Annotated[int, Field(ge=10)] = Field(
        150, description="resolution of the PNG, which has at most 65,535 pixels a side"
    )


class TrainingCurves(Figure):
    """Reward, KL, length and validation against the step or the seconds."""

    kind: Literal["training_curves"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all")
    x: Literal["step", "seconds"] = Field("step", description="the horizontal axis")


class Accuracy(Figure):
    """Accuracy by benchmark with 95 % intervals."""

    kind: Literal["accuracy"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all")


class OfEstimate(Figure):
    """What the figures of an estimate of V* have."""

    value: Name = Field(description="estimate to show")


class Values(OfEstimate):
    """Histograms of pass rates and of V*."""

    kind: Literal["values"]


class Forecast(OfEstimate):
    """Noise of the policy gradient with each baseline, forecast from stage 1's samples."""

    kind: Literal["forecast"]
    prompts: Literal["solved", "all"] = Field(
        "solved", description="`solved`: responses to prompts that another of their samples solved; `all`"
    )


class TimeByPhase(Figure):
    """Where the time went."""

    kind: Literal["time"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all")


Family = Literal["greedy", "avg", "pass", "maj"]


class TrainingTime(Figure):
    """One bar per run: how long a training took, the share of stage 1 marked."""

    kind: Literal["training_time"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all")


class Tradeoff(Figure):
    """Accuracy against time, peak memory and KL."""

    kind: Literal["tradeoff"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all")
    benchmark: Name | None = Field(None, description="benchmark to show; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest is shown")


class KeptSteps(Figure):
    """Accuracy after the kept steps of trainings, from the reference to the exported policy."""

    kind: Literal["kept_steps"]
    runs: SomeNames | None = Field(None, description="runs to show; null: all that keep steps")
    x: Literal["step", "trained_tokens", "seconds"] = Field(
        "step", description="the horizontal axis; tokens and seconds are the training's, without stage 1"
    )
    benchmark: Name | None = Field(None, description="benchmark to show; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest is shown")


class Ablation(Figure):
    """Accuracy and KL against the value of a setting."""

    kind: Literal["ablation"]
    x: Text = Field(
        description="a key of the runs, as `beta2`; or of their estimate of V* or selection, as `value.beta1`"
    )
    runs: SomeNames | None = Field(None, description="runs to show; null: all that have the key")
    benchmark: Name | None = Field(None, description="benchmark to show; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest is shown")


class AblationSettings(Ablation):
    """What the plot of an ablation receives: also the value of the setting in each run."""

    points: dict[str, Value]


FigureEntry = Annotated[
    TrainingCurves | Accuracy | Values | Forecast | TimeByPhase | TrainingTime | Tradeoff | KeptSteps | Ablation,
    Field(discriminator="kind"),
]
FigureSettings = (
    TrainingCurves | Accuracy | Values | Forecast | TimeByPhase | TrainingTime | Tradeoff | KeptSteps | AblationSettings
)
KINDS: dict[str, type[FigureSettings]] = {
    "training_curves": TrainingCurves,
    "accuracy": Accuracy,
    "values": Values,
    "forecast": Forecast,
    "time": TimeByPhase,
    "training_time": TrainingTime,
    "tradeoff": Tradeoff,
    "kept_steps": KeptSteps,
    "ablation": AblationSettings,
}


def read_settings(text: str) -> FigureSettings:
    """Read the settings of a figure from JSON, as the type of its ``kind``.

    Raises:
        InputError: the text is not a JSON object, the kind is unknown, or a key is missing, unknown or not allowed.
    """
    kind = parse_settings(text).get("kind")
    if kind not in KINDS:
        raise InputError(f"kind = {kind!r}: no such figure; choose one of {', '.join(KINDS)}")
    return KINDS[kind].from_json(text)
