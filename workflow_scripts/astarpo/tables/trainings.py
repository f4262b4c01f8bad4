"""The tables of curves and costs: what each training recorded, by step and in total."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import pandas as pd
import pyarrow as pa

from astarpo.common.columns import COST, CURVES
from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.common.frames import frame, read_frame
from astarpo.common.provenance import read_manifest
from astarpo.tables.plan import Training

DISTANCES = ("kl_per_token", "kl_per_sequence", "log_ratio_per_token", "log_ratio")
PHASES = ("generate_seconds", "grade_seconds", "reference_seconds", "update_seconds")
NEEDED_FOR_CURVES = pa.schema([("step", pa.int64()), ("generated_tokens", pa.int64())])
NEEDED_METRICS = pa.schema(
    [*NEEDED_FOR_CURVES, ("trained_tokens", pa.int64()), *((name, pa.float64()) for name in DISTANCES)]
)
TIMINGS = pa.schema(
    [
        ("step", pa.int64()),
        *((name, pa.float64()) for name in (*PHASES, "step_seconds")),
        ("peak_memory_bytes", pa.int64()),
    ]
)


class CostRow(TypedDict):
    """The columns of `columns.COST`."""

    run: str
    method: str
    seed: int
    stage1_seconds: float | None
    stage2_seconds: float
    generate_seconds: float
    grade_seconds: float
    reference_seconds: float
    update_seconds: float
    generated_tokens: float
    trained_tokens: float
    peak_memory_bytes: int
    kl_per_token: float | None
    kl_per_sequence: float | None
    log_ratio_per_token: float | None
    log_ratio: float | None
    hardware: str | None
    last_step: int | None
    exported_step: int | None
    ended_by: str | None


def curve_table(trainings: Iterable[Training]) -> pd.DataFrame:
    """Tabulate the metrics of trainings, one row per step and metric.

    Args:
        trainings: from the tables' plan.

    Returns:
        A table with the columns of `columns.CURVES`, nulls left out. The columns ``seconds`` and ``generated_tokens``
        are sums over the steps so far; the metric ``generated_tokens`` is the number of the step alone.

    Raises:
        InputError: the two files of a training have different steps.
    """
    return pd.concat([frame([], CURVES), *map(_curves, trainings)], ignore_index=True)


def _curves(training: Training) -> pd.DataFrame:
    metrics, timings = _steps(training, NEEDED_FOR_CURVES)
    steps = pd.DataFrame(
        {
            "run": training["run"],
            "method": training["method"],
            "seed": training["seed"],
            "step": metrics["step"],
            "seconds": timings["step_seconds"].fillna(0.0).cumsum(),
            "generated_tokens": metrics["generated_tokens"].fillna(0).cumsum(),
        }
    )
    values = metrics.drop(columns="step").astype(pd.ArrowDtype(pa.float64()))
    long = values.melt(var_name="name", value_name="value", ignore_index=False)
    known = long[long["value"].notna()].sort_index(kind="stable")
    return steps.join(known, how="inner").astype({field.name: pd.ArrowDtype(field.type) for field in CURVES})


def cost_table(trainings: Iterable[Training]) -> pd.DataFrame:
    """Sum up the costs of each training.

    Args:
        trainings: from the tables' plan.

    Returns:
        A table with the columns of `columns.COST`: all of stage 1 for every run that uses it, null if its samples were
        imported; tokens of stage 2 alone; KL as the mean over the last tenth of the steps.

    Raises:
        InputError: a file lacks a key or column, or a manifest belongs to another seed.
    """
    return frame(map(_cost, trainings), COST)


def _cost(training: Training) -> CostRow:
    manifest = read_manifest(training["manifest"])
    if manifest.get("seed", training["seed"]) != training["seed"]:
        raise InputError(
            f"{training['manifest']}: belongs to seed {manifest['seed']}, not to seed {training['seed']}; "
            "delete the file and run `snakemake` again"
        )
    metrics, timings = _steps(training, NEEDED_METRICS)
    trained = metrics[metrics["step"] > 0]
    last = trained.tail(max(1, len(trained) // 10))
    peaks = timings["peak_memory_bytes"].dropna()
    return {
        "run": training["run"],
        "method": training["method"],
        "seed": training["seed"],
        "stage1_seconds": _stage1_seconds(training["stage1"]),
        "stage2_seconds": _total(timings, "step_seconds"),
        "generate_seconds": _total(timings, "generate_seconds"),
        "grade_seconds": _total(timings, "grade_seconds"),
        "reference_seconds": _total(timings, "reference_seconds"),
        "update_seconds": _total(timings, "update_seconds"),
        "generated_tokens": _total(trained, "generated_tokens"),
        "trained_tokens": _total(trained, "trained_tokens"),
        "peak_memory_bytes": int(peaks.max()) if len(peaks) else 0,
        "kl_per_token": _mean(last, "kl_per_token"),
        "kl_per_sequence": _mean(last, "kl_per_sequence"),
        "log_ratio_per_token": _mean(last, "log_ratio_per_token"),
        "log_ratio": _mean(last, "log_ratio"),
        "hardware": manifest.get("hardware"),
        "last_step": manifest.get("last_step"),
        "exported_step": manifest.get("exported_step"),
        "ended_by": manifest.get("ended_by"),
    }


def _stage1_seconds(manifests: list[str]) -> float | None:
    """Seconds of stage 1; None for imported samples, as the time to read them is not what they cost elsewhere."""
    drawn_here = not any("imported" in read_manifest(path) for path in manifests)
    seconds = [_field(path, "seconds") for path in manifests if drawn_here]
    return sum(seconds) if seconds else None


def _steps(training: Training, needed: pa.Schema) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics and timings, one row per step, in the order of the steps."""
    read_table(training["metrics"], needed)  # for its error message if a column is missing
    metrics, timings = (
        table.sort_values("step", ignore_index=True)
        for table in (read_frame(training["metrics"]), read_frame(training["timings"], TIMINGS))
    )
    steps = metrics["step"].tolist()
    if steps != timings["step"].tolist() or len(set(steps)) != len(steps) or not any(step > 0 for step in steps):
        raise InputError(
            f"{training['metrics']} and {training['timings']}: must have the same steps, each once "
            f"({len(steps)} and {len(timings)} rows); delete both and run `snakemake` again"
        )
    return metrics, timings


def _field(path: str, name: str) -> float:
    manifest = read_manifest(path)
    if name not in manifest:
        raise InputError(f"{path}: key {name!r} is missing; delete the file and run `snakemake` again")
    return float(manifest[name])


def _total(table: pd.DataFrame, name: str) -> float:
    return sum(table[name].dropna().tolist())


def _mean(table: pd.DataFrame, name: str) -> float | None:
    known = table[name].dropna().tolist()
    return sum(known) / len(known) if known else None
