"""The configuration as types, last part: figures, the machine, and the whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.config.kinds import (
    Count,
    Distinct,
    Inches,
    Name,
    OpenShare,
    PositiveShare,
    SomeNames,
    Text,
)
from astarpo.config.methods import HYPERPARAMETERS, Run, RunEntry
from astarpo.config.schema import (
    BenchmarkEntry,
    DatasetEntry,
    ReferenceEntry,
    Section,
    SelectionEntry,
    ValueEntry,
)

__all__ = ["HYPERPARAMETERS", "Config", "Run", "RunEntry"]


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
    runs: SomeNames | None = Field(None, description="which runs; null: all")
    x: Literal["step", "seconds"] = Field("step", description="the horizontal axis")


class Accuracy(Figure):
    """Accuracy by benchmark with 95 % intervals."""

    kind: Literal["accuracy"]
    runs: SomeNames | None = Field(None, description="which runs; null: all")


class Values(Figure):
    """Histograms of pass rates and of V*."""

    kind: Literal["values"]
    value: Name = Field(description="which estimate")


class TimeByPhase(Figure):
    """Where the time went."""

    kind: Literal["time"]
    runs: SomeNames | None = Field(None, description="which runs; null: all")


Family = Literal["greedy", "avg", "pass", "maj"]


class TrainingTime(Figure):
    """A bar a run: how long a training took, the share of stage 1 marked."""

    kind: Literal["training_time"]
    runs: SomeNames | None = Field(None, description="which runs; null: all")


class Tradeoff(Figure):
    """Accuracy against time, peak memory and KL."""

    kind: Literal["tradeoff"]
    runs: SomeNames | None = Field(None, description="which runs; null: all")
    benchmark: Name | None = Field(None, description="which benchmark; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest")


class Ablation(Figure):
    """Accuracy and KL against the value of a setting."""

    kind: Literal["ablation"]
    x: Text = Field(
        description="a key of the runs, as `beta2`; or of their estimate of V* or selection, as `value.beta1`"
    )
    runs: SomeNames | None = Field(None, description="which runs; null: all that have the key")
    benchmark: Name | None = Field(None, description="which benchmark; null: the first")
    metric: Family = Field("avg", description="family of metrics; of several k the largest")


FigureEntry = Annotated[
    TrainingCurves | Accuracy | Values | TimeByPhase | TrainingTime | Tradeoff | Ablation,
    Field(discriminator="kind"),
]


class Contamination(Section):
    """What counts as a near duplicate between a training set and a benchmark; it is always reported."""

    ngram: Count = Field(8, description="words, numbers and signs in a row that are compared")
    threshold: PositiveShare = Field(
        0.7, description="share of n-grams of the shorter problem that the other has as well"
    )


class Machine(Section):
    """What changes speed and memory, but no number: it never makes a stage run again."""

    device: Literal["cpu", "cuda"] = Field("cpu", description="where models are")
    devices: Count = Field(
        1,
        description="devices of one training (processes, on a CPU) on a node; above 1 with engine deepspeed",
    )
    nodes: Count = Field(1, description="nodes of one training, in a SLURM allocation; above 1 with engine deepspeed")
    micro_batch: Count = Field(32, description="sequences in one forward and backward pass")
    micro_batch_tokens: Count | None = Field(
        None, description="most tokens in one pass, padding included; null: any number"
    )
    activation_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass instead of keeping them"
    )
    zero_stage: Annotated[int, Field(ge=0, le=3)] = Field(
        2,
        description="what DeepSpeed spreads over the devices: 1 optimizer, 2 and gradients, 3 and weights",
    )
    offload_optimizer: bool = Field(
        False,
        description="keep the optimizer in the CPU's memory; engine deepspeed, zero_stage 1 to 3",
    )
    offload_parameters: bool = Field(
        False, description="keep the weights in the CPU's memory; engine deepspeed, zero_stage 3"
    )
    sampling_batch: Count = Field(256, description="responses drawn at a time")
    checkpoint_every: Count = Field(25, description="steps between checkpoints")
    grading_workers: Count = Field(
        2, description="processes that judge responses where that is slow (`math`, your own)"
    )
    trackers: Annotated[tuple[Literal["tensorboard", "wandb"], ...], Distinct] = Field(
        (),
        description="where trainings can be followed besides `make watch`; each needs its package installed",
    )
    sampler_tensor_parallel: Count = Field(1, description="GPUs that share the model in vLLM; trainings take 1")
    sampler_memory_share: OpenShare = Field(
        0.3, description="of the GPU's memory, for vLLM; on a CPU, of the RAM, for its cache alone"
    )
    sampler_sleep_level: Annotated[int, Field(ge=0, le=2)] = Field(
        0,
        description="what vLLM gives free on a GPU while the policy is trained: 0 nothing, 1 its cache, the weights "
        "going to the RAM, 2 both",
    )
    walltime_minutes: Count | None = Field(
        None, description="limit of a training job: it stops in time with a checkpoint; null: none"
    )


class Config(Section):
    """The whole configuration: registries of named entries that refer to one another."""

    datasets: dict[Name, DatasetEntry] = Field(description="problems to train on")
    references: dict[Name, ReferenceEntry] = Field(description="reference policies")
    selections: dict[Name, SelectionEntry] = Field({}, description="which prompts are trained on")
    values: dict[Name, ValueEntry] = Field({}, description="estimates of V*")
    runs: dict[Name, RunEntry] = Field(
        description="trainings; an entry may have `base` and `grid`; `_name` is a base and no training"
    )
    benchmarks: dict[Name, BenchmarkEntry] = Field({}, description="what policies are compared on")
    figures: dict[Name, FigureEntry] = Field({}, description="what is drawn")
    contamination: Contamination = Field(Contamination(), description="what counts as a near duplicate")
    machine: Machine = Field(Machine(), description="speed and memory; changes no number")
