"""The types of the configuration, part three: the machine, and the whole."""

from __future__ import annotations

from pydantic import Field

from astarpo.common.kinds import Count, Name
from astarpo.common.machine import Machine, MachineSettings
from astarpo.common.settings import Section
from astarpo.config.methods import RunEntry
from astarpo.config.schema import BenchmarkEntry, DatasetEntry, ReferenceEntry, SelectionEntry, ValueEntry
from astarpo.data.settings import Contamination
from astarpo.figures.settings import FigureEntry

A_WEEK_MINUTES = 7 * 24 * 60


class MachineEntry(Machine):
    """Settings that affect speed and memory, but no results; changes never make a stage run again."""

    walltime_minutes: Count | None = Field(
        None, description="time limit of a training job, which stops before it and saves a checkpoint; null: none"
    )

    def settings(self) -> MachineSettings:
        """The settings that a job receives."""
        walltime = self.walltime_minutes
        # Leave time for loading, exporting and the last checkpoint.
        max_minutes = None if walltime is None else max(walltime * 0.9 - 2, 0.5 * walltime)
        return MachineSettings(**self.only(Machine), max_minutes=max_minutes)

    def gpus(self) -> int:
        """GPUs of a job with a model."""
        return 0 if self.device == "cpu" else 1

    def sampling_gpus(self, engine: str) -> int:
        """GPUs of a job that samples with ``transformers`` or ``vllm``."""
        return self.gpus() * (self.sampler_tensor_parallel if engine == "vllm" else 1)

    def training_gpus(self, draws_ahead: bool = False) -> int:
        """GPUs of a training on each node; one that draws ahead has another to draw on."""
        return self.gpus() * (self.devices + draws_ahead)

    def training_minutes(self) -> int:
        """Time limit of a training job on a cluster; a week if the configuration sets none."""
        return self.walltime_minutes or A_WEEK_MINUTES


class Config(Section):
    """The whole configuration: registries of named entries that refer to one another."""

    datasets: dict[Name, DatasetEntry] = Field(description="problems to train on")
    references: dict[Name, ReferenceEntry] = Field(description="reference policies")
    selections: dict[Name, SelectionEntry] = Field({}, description="selections of training prompts")
    values: dict[Name, ValueEntry] = Field({}, description="estimates of V*")
    runs: dict[Name, RunEntry] = Field(
        description="trainings; an entry may have `base` and `grid`; `_name` is only a base"
    )
    benchmarks: dict[Name, BenchmarkEntry] = Field({}, description="problems to evaluate policies on")
    figures: dict[Name, FigureEntry] = Field({}, description="figures to plot")
    contamination: Contamination = Field(Contamination(), description="what counts as a near duplicate")
    machine: MachineEntry = Field(MachineEntry(), description="speed and memory; does not affect results")
