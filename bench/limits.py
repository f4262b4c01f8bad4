"""Measure what must be fast: start-up, the dry run of a large sweep, V* of ten million samples.

    python bench/limits.py

Here "theirs" is our own limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from report import Measured, record

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]
COMMAND = "python bench/limits.py"
RUNS, SAMPLES, EACH = 200, 10_000_000, 8


def main() -> None:
    rows = [of_help()]
    with tempfile.TemporaryDirectory() as folder:
        rows += [of_a_dry_run(Path(folder)), *of_values(Path(folder))]
    record(rows)


def within(name: str, ours: float, limit: float, unit: str) -> Measured:
    return {"name": name, "ours": ours, "theirs": limit, "ratio": limit / ours, "unit": unit, "command": COMMAND}


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - started


def of_help() -> Measured:
    """The slowest script, by the best of three runs of each."""
    scripts = sorted((ROOT / "workflow_scripts").glob("*.py"))
    best = {path.name: min(seconds_of([sys.executable, str(path), "--help"]) for _ in range(3)) for path in scripts}
    slowest = max(best, key=lambda name: best[name])
    return within(f"--help of the slowest script ({slowest})", best[slowest], 0.5, "s")


def of_a_dry_run(folder: Path) -> Measured:
    """Time a sweep over learning rates with one seed, each run evaluated on both default benchmarks."""
    rates = [f"{1e-6 * (1 + index)}" for index in range(RUNS)]
    sweep = folder / "sweep.yaml"
    sweep.write_text(f"runs:\n  sweep: {{base: a-star-po, seeds: [0], grid: {{lr: [{', '.join(rates)}]}}}}\n")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--quiet",
        "all",
        "--cores",
        "2",
        "--configfile",
        "config/config.yaml",
        str(sweep),
        "--",
        "evaluate",
    ]
    return within(f"dry run of a sweep of {RUNS} runs, two benchmarks", seconds_of(command), 10.0, "s")


def of_values(folder: Path) -> list[Measured]:
    """Time the estimate of stage 1 from files of a million graded samples each."""
    from astarpo.common.columns import GRADED
    from astarpo.common.files import write_table

    random = np.random.default_rng(0)
    files, rows = [], 1_000_000
    for number in range(SAMPLES // rows):
        right = random.random(rows) < 0.4
        first = number * rows // EACH
        columns = {
            "prompt_id": pa.array([f"{first + row // EACH:016x}" for row in range(rows)]),
            "sample_index": pa.array(np.arange(rows) % EACH),
            "reward": pa.array(right.astype(float)),
            "status": pa.array(np.where(right, "correct", "incorrect").tolist()),
            "answer": pa.array(random.integers(0, 1000, rows).astype(str).tolist()),
        }
        files.append(str(folder / f"{number}.parquet"))
        write_table(files[-1], pa.table(columns), GRADED, {})
    settings = json.dumps({"n": EACH, "estimator": "log_mean_exp", "beta1": 0.5})
    command = [
        sys.executable,
        "workflow_scripts/estimate_values.py",
        "--settings",
        settings,
        "--graded",
        *files,
        "--out",
        str(folder / "values.parquet"),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command[:4])} failed")
    name = f"V* of {SAMPLES // EACH:,} prompts from {SAMPLES:,} graded samples"
    return [
        within(name, seconds, 60.0, "s"),
        within(f"{name}: peak memory", usage.ru_maxrss / 2**20, 4.0, "GiB"),
    ]


if __name__ == "__main__":
    main()
