"""The configuration as types, last part: figures, the machine, and the whole."""

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
