"""The tables of curves and of costs: what each training recorded, step by step and in sum."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import pyarrow as pa

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, read_table

Entry = Mapping[str, Any]
DISTANCES = ("kl_per_token", "kl_per_sequence", "log_ratio_per_token", "log_ratio")
PHASES = ("generate_seconds", "grade_seconds", "reference_seconds", "update_seconds")
NEEDED_METRICS = pa.schema(
    [
        *((name, pa.int64()) for name in ("step", "generated_tokens", "trained_tokens")),
        *((name, pa.float64()) for name in DISTANCES),
    ]
)
TIMINGS = pa.schema(
    [
        ("step", pa.int64()),
        *((name, pa.float64()) for name in (*PHASES, "step_seconds")),
        ("peak_memory_bytes", pa.int64()),
    ]
)


def curve_rows(run: Entry) -> list[dict[str, Any]]:
    """Lay out a training's metrics, one row a step and metric.

    Args:
        run: ``run``, ``method``, ``seed``, and the files ``metrics`` and ``timings``.

    Returns:
        Rows of `columns.CURVES`, nulls left out. ``seconds`` and ``generated_tokens`` are sums over
        the steps so far; the metric of the latter name is the step's own number.

    Raises:
        InputError: the two files are not about the same steps.
    """
    metrics, timings = _steps(run)
    rows = []
    tokens = accumulate(row["generated_tokens"] or 0 for row in metrics)
    seconds = accumulate(row["step_seconds"] or 0.0 for row in timings)
    for row, so_far, elapsed in zip(metrics, tokens, seconds, strict=True):
        labels = {name: run[name] for name in ("run", "method", "seed")}
        labels |= {"step": row["step"], "seconds": elapsed, "generated_tokens": so_far}
        rows += [
            {**labels, "name": name, "value": float(value)}
            for name, value in row.items()
            if name != "step" and value is not None
        ]
    return rows


def cost_row(run: Entry) -> dict[str, Any]:
    """Sum up what a training cost.

    Args:
        run: ``run``, ``method``, ``seed``, the files ``manifest``, ``metrics`` and ``timings``, and
            ``stage1``, the manifests of the sample blocks that its V* was estimated from.

    Returns:
        A row of `columns.COST`: stage 1 whole, for every run that uses it, null where its samples were
        imported; tokens of stage 2 alone;
        KL as the mean over the last tenth of the steps.

    Raises:
        InputError: a file lacks something, or the manifest belongs to another seed.
    """
    manifest = read_json(run["manifest"])
    if manifest.get("seed", run["seed"]) != run["seed"]:
        raise InputError(
            f"{run['manifest']}: is of seed {manifest['seed']}, not of seed {run['seed']}; "
            "delete the file and run `snakemake` again"
        )
    metrics, timings = _steps(run)
    trained = [row for row in metrics if row["step"] > 0]
    last = trained[-max(1, len(trained) // 10) :]
    # What drawing imported samples cost, somewhere else, is not known; reading them is not that cost.
    drawn_here = not any("imported" in read_json(path) for path in run["stage1"])
    stage1 = [_field(path, "seconds") for path in run["stage1"] if drawn_here]
    return {
        **{name: run[name] for name in ("run", "method", "seed")},
        "stage1_seconds": sum(stage1) if stage1 else None,
        "stage2_seconds": _total(timings, "step_seconds"),
        **{name: _total(timings, name) for name in PHASES},
        "generated_tokens": _total(trained, "generated_tokens"),
        "trained_tokens": _total(trained, "trained_tokens"),
        "peak_memory_bytes": max((row["peak_memory_bytes"] or 0 for row in timings), default=0),
        **{name: _mean(last, name) for name in DISTANCES},
        "hardware": manifest.get("hardware"),
    }


def _steps(run: Entry) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of both files in the order of the steps."""
    read_table(run["metrics"], NEEDED_METRICS)  # names a column that is missing
    metrics = read_table(run["metrics"]).sort_by("step").to_pylist()
    timings = read_table(run["timings"], TIMINGS).sort_by("step").to_pylist()
    steps, timed = ([row["step"] for row in rows] for rows in (metrics, timings))
    if steps != timed or len(set(steps)) != len(steps) or not any(step > 0 for step in steps):
        raise InputError(
            f"{run['metrics']} and {run['timings']}: must have the same steps, each once "
            f"({len(steps)} and {len(timed)} rows); delete both and run `snakemake` again"
        )
    return metrics, timings


def _field(path: str, name: str) -> float:
    manifest = read_json(path)
    if name not in manifest:
        raise InputError(f"{path}: key {name!r} is missing; delete the file and run `snakemake` again")
    return float(manifest[name])


def _total(rows: list[dict[str, Any]], name: str) -> Any:
    return sum(row[name] for row in rows if row[name] is not None)


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) / len(known) if known else None
