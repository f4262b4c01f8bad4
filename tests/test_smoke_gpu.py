"""`make smoke-gpu`: what it says without a card, what counts as a failure, and the numbers of its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import smoke_checks, smoke_gpu, smoke_table  # noqa: E402 (the path comes first)


def test_without_a_card_it_says_so_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/smoke_gpu.py"), "--folder", str(tmp_path / "new")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("\n") == 1 and done.stdout.startswith("no NVIDIA card is visible here")
    assert not (tmp_path / "new").exists()


def write_training(folder: Path, **last: Any) -> Path:
    """A training of two steps, the last row of metrics changed."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"settings": json.dumps({"steps": 2})}))
    row = {"reward": 0.5, "loss": 0.1, "grad_norm": 1.0, "kl_per_sequence": 0.0}
    rows = [{"step": 0, **dict.fromkeys(row)}, {"step": 1, **row}, {"step": 2, **row, "kl_per_sequence": 0.2, **last}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "metrics.parquet")
    return folder


@pytest.mark.parametrize(
    ("last", "reason"),
    [({"loss": float("nan")}, "step 2: loss is nan"), ({"kl_per_sequence": 0.0}, "the weights do not move")],
)
def test_a_failed_check_has_its_reason_in_its_line_and_sets_the_exit_status(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    last: dict[str, Any],
    reason: str,
) -> None:
    good, bad = write_training(tmp_path / "good"), write_training(tmp_path / "bad", **last)
    made = [smoke_gpu.Check(one.name, lambda _, one=one: smoke_checks.check_training(one)) for one in (good, bad)]
    monkeypatch.setattr(smoke_gpu, "CHECKS", (*made, smoke_gpu.Check("other", smoke_gpu.model, ("no_such_package",))))
    monkeypatch.setattr(sys, "argv", ["smoke_gpu.py", "--device", "cpu", "--folder", str(tmp_path / "run")])
    assert smoke_gpu.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["passed", "FAILED", "skipped"]
    assert reason in lines[1] and "no_such_package is not installed" in lines[2]
    assert lines[3] == "1 passed, 1 failed, 1 skipped"


def test_a_check_that_runs_out_of_time_fails_and_its_program_is_killed(tmp_path: Path) -> None:
    smoke = smoke_gpu.Smoke(tmp_path, "cpu", 0.0)
    process = smoke.start([sys.executable, "-c", "import time; time.sleep(1000)"])
    with pytest.raises(smoke_checks.Failed, match="the time was over"):
        smoke.end(process)
    assert process.returncode == -9


def test_a_check_that_hangs_fails_by_its_name_and_the_next_one_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "results/logs/hangs.log"
    log.parent.mkdir(parents=True)
    log.write_text("loading\n/cache/lock: waiting for the build that locked this folder\n\n")
    sleep, speak = ([sys.executable, "-c", program] for program in ("import time; time.sleep(1000)", "print('done')"))
    checks = (
        smoke_gpu.Check("hangs", lambda smoke: smoke.end(smoke.start(sleep))[1], longest_share=1e-4),
        smoke_gpu.Check("runs", lambda smoke: smoke.end(smoke.start(speak))[1].strip()),
    )
    assert smoke_gpu.run(smoke_gpu.Smoke(tmp_path, "cpu", 3600.0), checks) == 1
    hung, ran = capsys.readouterr().out.splitlines()[:2]
    assert hung.startswith("FAILED  hangs ") and hung.endswith(
        "not done after 0 s, 0.0001 of --minutes; results/logs/hangs.log ends: /cache/lock: waiting for the build that "
        "locked this folder"
    )
    assert ran.startswith("passed  runs ") and ran.endswith("done")


def test_the_table_has_the_numbers_of_the_files(tmp_path: Path) -> None:
    tokens = [{"generated_tokens": count} for count in (None, 1000, 30, 50)]
    seconds = [(None,) * 3, (9.0,) * 3, (1.0, 0.0, 0.25), (3.0, 0.0, 0.25)]
    timings = [
        {**{f"{phase}_seconds": s for phase, s in zip(smoke_table.PHASES, row, strict=True)}, "peak_memory_bytes": size}
        for row, size in zip(seconds, (None, 2**20, 3 * 2**20, 3 * 2**20), strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(tokens), tmp_path / "metrics.parquet")
    pq.write_table(pa.Table.from_pylist(timings), tmp_path / "timings.parquet")
    row = smoke_table.row_of("mine", tmp_path, 4 * 2**20)  # the first step, of 1,000 tokens, does not count
    assert row.speeds == {"generate": 20.0, "reference": None, "update": 160.0}
    assert smoke_table.table([row])[1].split() == ["mine", "20", "-", "160", "3", "4", "0.75"]


def test_a_check_that_is_not_reached_in_time_is_no_success(tmp_path: Path) -> None:
    smoke = smoke_gpu.Smoke(tmp_path, "cpu", -1.0)
    assert smoke_gpu.outcome_of(smoke_gpu.Check("late", smoke_gpu.model), smoke)[0] == "FAILED"


def test_the_real_vllm_samples(tmp_path: Path) -> None:
    """A part of what runs on a card, on this CPU: a model is made, vLLM samples from it, and torch agrees."""
    pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` installs and tests it")
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "bench/smoke_gpu.py"), "--device", "cpu"),
            *("--only", "sampling, vLLM", "--folder", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nats per token" in done.stdout and done.stdout.splitlines()[-2].startswith("2 passed, 0 failed, 0 skipped")
