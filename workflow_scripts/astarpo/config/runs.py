"""The configuration as types, last part: figures, the machine, and the whole."""

from __future__ import annotations

from pydantic import Field

from astarpo.common.kinds import Count, Name
from astarpo.common.machine import Machine
from astarpo.common.settings import Section
from astarpo.config.methods import HYPERPARAMETERS, Run, RunEntry
from astarpo.config.schema import BenchmarkEntry, DatasetEntry, ReferenceEntry, SelectionEntry, ValueEntry
from astarpo.data.settings import Contamination
from astarpo.figures.settings import FigureEntry

__all__ = ["HYPERPARAMETERS", "Config", "Run", "RunEntry"]


class MachineEntry(Machine):
    """What changes speed and memory, but no number: it never makes a stage run again."""

    walltime_minutes: Count | None = Field(
        None, description="time limit of a training job, which stops before it with a checkpoint; null: none"
    )


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
