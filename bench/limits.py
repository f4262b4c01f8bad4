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
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from report import Measured, record

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts")]
COMMAND = "python bench/limits.py"
RUNS, SAMPLES, EACH = 200, 10_000_000, 8


def main() -> None:
    rows = of_help()
    with tempfile.TemporaryDirectory() as folder:
        rows += [*of_a_dry_run(Path(folder)), *of_values(Path(folder))]
    record(rows)


def within(name: str, ours: float, limit: float, unit: str) -> Measured:
    return {"name": name, "ours": ours, "theirs": limit, "ratio": limit / ours, "unit": unit, "command": COMMAND}


class Took(NamedTuple):
    """What a command took: seconds, seconds of CPU time, which other programs beside it lengthen less, and memory."""

    seconds: float
    cpu_s: float
    peak_gib: float

    def seconds_within(self, name: str, limit: float) -> list[Measured]:
        return [
            within(name, self.seconds, limit, "s"),
            within(f"{name}: CPU time", self.cpu_s, limit, "s"),
        ]


def run(command: list[str]) -> Took:
    with tempfile.TemporaryFile("w+") as complaints:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=complaints)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            complaints.seek(0)
            sys.exit(f"{' '.join(command[:4])} failed:\n{complaints.read()}")
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def of_help() -> list[Measured]:
    """The slowest script, by the best of three runs of each."""
    scripts = sorted((ROOT / "workflow_scripts").glob("*.py"))
    best = {path.name: min(run([sys.executable, str(path), "--help"]) for _ in range(3)) for path in scripts}
    slowest = max(best, key=lambda name: best[name])
    return best[slowest].seconds_within(f"--help of the slowest script ({slowest})", 0.5)


def of_a_dry_run(folder: Path) -> list[Measured]:
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
    return run(command).seconds_within(f"dry run of a sweep of {RUNS} runs, two benchmarks", 10.0)


def write_samples(folder: Path) -> dict[str, list[str]]:
    """Write files of a million graded samples each, and of their responses, which are empty."""
    from astarpo.common.columns import GENERATIONS, GRADED
    from astarpo.common.files import write_table

    random = np.random.default_rng(0)
    files: dict[str, list[str]] = {"graded": [], "generations": []}
    rows = 1_000_000
    for number in range(SAMPLES // rows):
        right = random.random(rows) < 0.4
        first = number * rows // EACH
        sample = {
            "prompt_id": pa.array([f"{first + row // EACH:016x}" for row in range(rows)]),
            "sample_index": pa.array(np.arange(rows) % EACH),
        }
        graded = {
            **sample,
            "reward": pa.array(right.astype(float)),
            "status": pa.array(np.where(right, "correct", "incorrect").tolist()),
            "answer": pa.array(random.integers(0, 1000, rows).astype(str).tolist()),
        }
        empty = pa.array(np.zeros(rows + 1, np.int32))
        generations = {
            **sample,
            "seed": sample["sample_index"],
            "response_token_ids": pa.ListArray.from_arrays(empty, pa.array([], pa.int32())),
            "response": pa.repeat("", rows),
            "finish_reason": pa.repeat("stop", rows),
            "n_tokens": pa.array(np.full(rows, 20)),
            "logprob_sum": pa.array(-20.0 * random.random(rows)),
        }
        for name, columns, schema in (("graded", graded, GRADED), ("generations", generations, GENERATIONS)):
            files[name].append(str(folder / f"{name}-{number}.parquet"))
            write_table(files[name][-1], pa.table(columns), schema, {})
    return files


def of_values(folder: Path) -> list[Measured]:
    """Time the estimate of stage 1."""
    files = write_samples(folder)
    settings = json.dumps({"n": EACH, "estimator": "log_mean_exp", "beta1": 0.5})
    command = [
        sys.executable,
        "workflow_scripts/estimate_values.py",
        "--settings",
        settings,
        "--graded",
        *files["graded"],
        "--generations",
        *files["generations"],
        "--out",
        str(folder / "values.parquet"),
    ]
    took = run(command)
    name = f"V* of {SAMPLES // EACH:,} prompts from {SAMPLES:,} graded samples"
    return [*took.seconds_within(name, 60.0), within(f"{name}: peak memory", took.peak_gib, 4.0, "GiB")]


if __name__ == "__main__":
    main()
