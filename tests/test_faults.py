"""The harness of `make faults`: on a broken copy of the workflow it has red rows; `.ci/run` runs it on the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.cases import refusal_problem
from faults.lab import differing, digests
from faults.matrix import choose, matrix
from faults.processes import Ended

ROOT = Path(__file__).resolve().parents[1]
CASES = r"prepare_dataset sums / (at change 98|first waits at .parquet)"


def harness(only: str, tree: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests/faults"), "--jobs", "1", "--tree", str(tree), "--only", only]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def break_it(tree: Path, file: str, original: str, replacement: str) -> None:
    path = tree / "workflow_scripts" / file
    text = path.read_text()
    assert text.count(original) == 1
    path.write_text(text.replace(original, replacement))


def test_without_locks_a_second_writer_is_a_red_row(tmp_path):
    for name in ("workflow_scripts", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    break_it(tmp_path, "astarpo/common/locks.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH")
    done = harness(CASES, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 cases in" in done.stdout and ", 1 red" in done.stdout
    assert done.stdout.count("the second was not refused") == 2  # in its row, and among the red ones
    assert "\nok      | SIGKILL" in "\n" + done.stdout


def test_every_case_has_a_name_of_its_own_and_a_share_has_all_faults():
    cases = matrix(seed=0)
    assert len({case.name for case in cases}) == len(cases) > 200
    assert {case.fault for case in choose(cases, None, 24)} == {case.fault for case in cases}
    assert [case.name for case in matrix(seed=0)] == [case.name for case in cases]
    assert [case.name for case in matrix(seed=1)] != [case.name for case in cases]


@pytest.mark.parametrize(
    ("status", "output", "problem"),
    [
        (1, "working\nerror: the disk is full\n", None),
        (1, "", "0 lines"),
        (1, "error: one\nerror: two\n", "2 lines"),
        (2, "error: one\n", "exit status 2"),
        (1, "Traceback (most recent call last):\nerror: one\n", "a traceback"),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_1(status, output, problem):
    found = refusal_problem(Ended(status, output, [], 0.0))
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_digests_notice_a_changed_a_missing_and_a_further_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"1")
    (tmp_path / "manifest.json").write_text('{"seconds": 1, "inputs": {"a": "1"}, "seed": 0}')
    before = digests(tmp_path, ["model", "manifest.json"])
    (tmp_path / "manifest.json").write_text('{"seconds": 2, "inputs": {"a": "1"}, "seed": 0}')
    assert digests(tmp_path, ["model", "manifest.json"]) == before
    (tmp_path / "manifest.json").write_text('{"seconds": 2, "inputs": {"a": "2"}, "seed": 0}')
    (tmp_path / "model/weights").write_bytes(b"2")
    (tmp_path / "model/more").write_bytes(b"")
    changed = digests(tmp_path, ["model", "manifest.json"])
    assert differing(before, changed) == ["manifest.json", "model/more", "model/weights"]
    (tmp_path / "manifest.json").unlink()
    assert digests(tmp_path, ["manifest.json"]) == {"manifest.json": "missing"}
