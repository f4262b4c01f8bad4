"""The benchmarks run and write their results; the numbers are not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path):
    sizes = [
        "--prompts",
        "4",
        "--prompt-tokens",
        "8",
        "--response-tokens",
        "16",
        "--micro-batch-tokens",
        "64",
    ]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/gpu.py"), "--device", "cpu", "--shape", "tiny", *sizes],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    rows = json.loads((tmp_path / "results/bench/bench.json").read_text())
    cases = {row["name"].split(" on ")[0] for row in rows}
    for case in ("a-star-po", "a-star-po, all logits at once", "grpo-2", "grpo-8", "rebel", "ppo"):
        assert {f"{case}, {what}" for what in ("reference", "update", "peak memory")} <= cases
    assert all(row["ours"] > 0 for row in rows)
