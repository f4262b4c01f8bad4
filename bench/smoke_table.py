"""The table of `bench/smoke_gpu.py`: each training's speed by phase, and its peak memory beside the estimate."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT)]

PHASES = ("generate", "reference", "update")
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """A training.

    Attributes:
        name: of the run.
        speeds: response tokens per second by phase; None for a phase that takes no time.
        measured, estimated: bytes at the peak.
    """

    name: str
    speeds: Mapping[str, float | None]
    measured: float
    estimated: float


def row_of(name: str, folder: Path, estimated: float) -> Row:
    """Read a training's speed and peak memory.

    Args:
        name: of the run.
        folder: of the run and seed.
        estimated: bytes at the peak.
    """
    from bench.smoke_checks import rows_of

    metrics, timings = (rows_of(folder / f"{table}.parquet") for table in ("metrics", "timings"))
    return Row(name, speeds(metrics, timings), max(row["peak_memory_bytes"] or 0 for row in timings), estimated)


def speeds(metrics: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Compute response tokens per second by phase, over all steps but the first, in which kernels are prepared.

    Args:
        metrics, timings: of all steps, step 0 included.
    """
    tokens = sum(row["generated_tokens"] for row in metrics[2:])
    seconds = {phase: sum(row[f"{phase}_seconds"] for row in timings[2:]) for phase in PHASES}
    return {phase: tokens / spent if spent > 0 else None for phase, spent in seconds.items()}


def estimate_of(folder: Path, model: Path, dataset: Path) -> float:
    """Estimate the peak of a training before its export, in bytes, from what its manifest says it was given.

    Args:
        folder: of the run and seed.
        model: folder of its reference.
        dataset: parquet file of its prompts.
    """
    from astarpo.common.files import read_json_object
    from astarpo.common.machine import MachineSettings
    from astarpo.memory.check import shape_of_folder
    from astarpo.model.loading import load_tokenizer
    from astarpo.training.memory import PromptLengths, estimate
    from astarpo.training.prompts import load_training_prompts
    from astarpo.training.settings import TrainSettings

    made = json.loads((folder / "manifest.json").read_text())
    settings, machine = TrainSettings.from_json(made["settings"]), MachineSettings(**made["machine"])
    prompts, _ = load_training_prompts(load_tokenizer(model, False), str(dataset), settings.prompting)
    shape = shape_of_folder(model)
    assert shape is not None, model
    lengths = PromptLengths.of(
        [prompt.token_ids for prompt in prompts], read_json_object(model / "config.json"), settings
    )
    phases = estimate(shape, settings, machine, 1, lengths).by_phase()
    return max(size for phase, size in phases.items() if phase != "export")  # the timings end before it


def table(rows: Sequence[Row]) -> list[str]:
    """Lay out the rows."""
    head = "".join(f"{phase:>12s}" for phase in PHASES)
    lines = [f"{'tokens/s; peak memory in MiB':32s}{head}{'measured':>12s}{'estimated':>12s}{'ratio':>8s}"]
    for row in rows:
        rates = "".join(
            f"{'-' if (rate := row.speeds[phase]) is None else format(rate, ',.0f'):>12s}" for phase in PHASES
        )
        sizes = f"{row.measured / MIB:12,.0f}{row.estimated / MIB:12,.0f}{row.measured / row.estimated:8.2f}"
        lines.append(f"{row.name:32s}{rates}{sizes}")
    return lines
