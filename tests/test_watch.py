"""Watching: newest values, half-written lines, finished runs, and nothing at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

from astarpo.training.watch import read_trainings, table

SCRIPT = Path(__file__).resolve().parent.parent / "workflow_scripts" / "watch.py"

SPEED = {"tokens_per_second": 12345.4, "mfu": 0.375, "idle_share": 0.0211, "peak_memory_bytes": 81_200_000_000}


def write(results, run, seed, rows, fingerprint="f", tail="", age=0.0):
    folder = results / f"checkpoints/{run}/seed-{seed}/{fingerprint}/world-1"
    folder.mkdir(parents=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    os.utime(path, (1000 - age, 1000 - age))
    return path


def test_newest_values_and_a_half_written_line(tmp_path):
    rows = [{"step": 0, "reward": None, "validation_reward": 0.25}, {"step": 1, "reward": 0.5, **SPEED}]
    write(tmp_path, "a", 3, rows, tail='{"step": 2, "rew', age=7)
    found = read_trainings(tmp_path)
    assert [(t.run, t.seed, t.step, t.values) for t in found] == [
        ("a", 3, 1, {"validation_reward": 0.25, "reward": 0.5, **SPEED})
    ]
    header, line = table(found, now=1000).split("\n")
    assert header.split() == [
        "run",
        "seed",
        "step",
        "reward",
        "validation",
        "KL",
        "length",
        "cut",
        "tokens/s",
        "MFU",
        "idle",
        "memory",
        "last",
        "line",
    ]
    assert line.split() == [
        "a",
        "3",
        "1",
        "0.500",
        "0.250",
        "-",
        "-",
        "-",
        "12,345",
        "37.5%",
        "2.1%",
        "81.2",
        "GB",
        "7",
        "s",
        "ago",
    ]


def test_the_newest_scratch_folder_counts_and_runs_come_in_order(tmp_path):
    write(tmp_path, "b", 0, [{"step": 9}], fingerprint="old", age=50)
    write(tmp_path, "b", 0, [{"step": 2}], fingerprint="new")
    write(tmp_path, "a", 10, [{"step": 1}])
    write(tmp_path, "a", 2, [{"step": 1}])
    found = [(t.run, t.seed, t.step) for t in read_trainings(tmp_path)]
    assert found == [("a", 2, 1), ("a", 10, 1), ("b", 0, 2)]


def test_a_finished_run_says_so(tmp_path):
    write(tmp_path, "a", 0, [{"step": 4}])
    manifest = tmp_path / "runs/a/seed-0/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    assert table(read_trainings(tmp_path), now=2000).endswith("finished")


def test_nothing_running_says_how_to_start(tmp_path):
    command = [sys.executable, str(SCRIPT), "--results", str(tmp_path), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "no training has started yet; start one with: snakemake --cores 2 train\n"
