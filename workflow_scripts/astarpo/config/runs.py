"""The configuration as types, last part: figures, the machine, and the whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import (
    Count,
    Inches,
    Name,
    SomeNames,
    Text,
)
from astarpo.common.machine import Machine, MachineSettings
from astarpo.common.settings import Section
from astarpo.config.methods import RunEntry
from astarpo.config.schema import BenchmarkEntry, DatasetEntry, ReferenceEntry, SelectionEntry, ValueEntry
from astarpo.data.settings import Contamination

A_WEEK_MINUTES = 7 * 24 * 60


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


class Values(Figure):
    """Histograms of pass rates and of V*."""

    kind: Literal["values"]
    value: Name = Field(description="estimate to show")


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


class Ablation(Figure):
    """Accuracy and KL against the value of a setting."""

    kind: Literal["ablation"]
    x: Text = Field(
        description="a key of the runs, as `beta2`; or of their estimate of V* or selection, as `value.beta1`"
    )
    runs: SomeNames | None = Field(None, description="runs to show; null: all that have the key")
    benchmark: Name | None = Field(None, description="benchmark to show; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest is shown")


FigureEntry = Annotated[
    TrainingCurves | Accuracy | Values | TimeByPhase | TrainingTime | Tradeoff | Ablation,
    Field(discriminator="kind"),
]


class MachineEntry(Machine):
    """What changes speed and memory, but no number: it never makes a stage run again."""

    walltime_minutes: Count | None = Field(
        None, description="time limit of a training job, which stops before it with a checkpoint; null: none"
    )

    def settings(self) -> MachineSettings:
        """What a job receives."""
        walltime = self.walltime_minutes
        # Loading, exporting and the last checkpoint need some of the time that the cluster grants.
        max_minutes = None if walltime is None else max(walltime * 0.9 - 2, 0.5 * walltime)
        return MachineSettings(**self.only(Machine), max_minutes=max_minutes)

    def gpus(self) -> int:
        """GPUs that a job with a model takes."""
        return 0 if self.device == "cpu" else 1

    def training_gpus(self) -> int:
        """GPUs that a training takes on each node."""
        return self.gpus() * self.devices

    def training_minutes(self) -> int:
        """Time that a training job may take on a cluster; a week where the configuration sets no limit."""
        return self.walltime_minutes or A_WEEK_MINUTES


class Config(Section):
    """The whole configuration: registries of named entries that refer to one another."""

    datasets: dict[Name, DatasetEntry] = Field(description="problems to train on")
    references: dict[Name, ReferenceEntry] = Field(description="reference policies")
    selections: dict[Name, SelectionEntry] = Field({}, description="which prompts are trained on")
    values: dict[Name, ValueEntry] = Field({}, description="estimates of V*")
    runs: dict[Name, RunEntry] = Field(
        description="trainings; an entry may have `base` and `grid`; `_name` is only a base"
    )
    benchmarks: dict[Name, BenchmarkEntry] = Field({}, description="problems that policies are compared on")
    figures: dict[Name, FigureEntry] = Field({}, description="figures to plot")
    contamination: Contamination = Field(Contamination(), description="what counts as a near duplicate")
    machine: MachineEntry = Field(MachineEntry(), description="speed and memory; changes no number")
