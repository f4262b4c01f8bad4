"""grade.py by itself: files in, files out, in order, and bad rows named by their number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).parent.parent / "workflow_scripts/grade.py"
ROWS = [
    {"id": "a", "gold": "1/2", "response": r"\boxed{0.5}", "finish_reason": None},
    {"id": "b", "gold": "2", "response": r"\boxed{3}", "finish_reason": "stop"},
    {"id": "c", "gold": "2", "response": "two", "finish_reason": "stop"},
    {"id": "d", "gold": "2", "response": r"\boxed{2}", "finish_reason": "length"},
    {"id": "e", "gold": r"\sqrt{8}", "response": r"\boxed{2\sqrt{2}}", "finish_reason": None},
]
GRADES = [
    (1.0, "correct"),
    (0.0, "incorrect"),
    (0.0, "no_answer"),
    (0.0, "incorrect"),
    (1.0, "correct"),
]


def run(folder, source, target="out.jsonl", verifier="math", *more):
    command = [sys.executable, SCRIPT, "--input", folder / source, "--output", folder / target]
    return subprocess.run(
        [*map(str, command), "--verifier", str(verifier), *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_json_lines(tmp_path):
    write(tmp_path / "in.jsonl", ROWS)
    done = run(tmp_path, "in.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5 responses, 2 right: 2 correct, 2 incorrect, 1 no_answer\n"
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list("abcde")
    assert [(row["reward"], row["status"]) for row in rows] == GRADES
    assert rows[0]["answer"] == "0.5" and rows[0]["gold"] == "1/2"
    first = (tmp_path / "out.jsonl").read_bytes()
    run(tmp_path, "in.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == first


def test_parquet_in_and_out(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "in.parquet")
    done = run(tmp_path, "in.parquet", "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names[-3:] == ["reward", "status", "answer"]
    found = zip(table["reward"].to_pylist(), table["status"].to_pylist(), strict=True)
    assert list(found) == GRADES
    assert table["id"].to_pylist() == list("abcde")


def test_truncated_as_judged(tmp_path):
    write(tmp_path / "in.jsonl", ROWS[3:4])
    done = run(tmp_path, "in.jsonl", "out.jsonl", "math", "--truncated", "as_judged")
    assert "1 right" in done.stdout


def test_a_verifier_in_a_file_and_a_null_grade(tmp_path):
    (tmp_path / "mine.py").write_text("def f(gold, response):\n    return {'2': True, '3': False}[response.text]\n")
    write(tmp_path / "in.jsonl", [{"gold": "g", "response": text} for text in "234"])
    done = run(tmp_path, "in.jsonl", "out.parquet", "mine.py:f")
    assert done.stdout == "3 responses, 1 right: 1 correct, 1 error, 1 incorrect\n", done.stderr
    assert pq.read_table(tmp_path / "out.parquet")["reward"].to_pylist() == [1.0, 0.0, None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"response": "x"}, "row 2: there is no column 'gold'; it has response"),
        ({"gold": "1"}, "row 2: there is no column 'response'; it has gold"),
        ({"gold": 1, "response": "x"}, "row 2, column 'gold': must be a string, but is 1; write"),
        ({"gold": "1", "response": None}, "row 2, column 'response': must be a string, but is None"),
        (
            {"gold": "1", "response": "x", "finish_reason": "eos"},
            "must be 'stop' or 'length', but is 'eos'",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    write(tmp_path / "in.jsonl", [ROWS[0], row])
    done = run(tmp_path, "in.jsonl")
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("source", "target", "verifier", "message"),
    [
        ("gone.jsonl", "out.jsonl", "math", "gone.jsonl: no such file"),
        ("in.csv", "out.jsonl", "math", "in.csv: must end in .jsonl or .parquet"),
        ("in.jsonl", "out.txt", "math", "out.txt: must end in .jsonl or .parquet"),
        ("in.jsonl", "out.jsonl", "maths", "--verifier maths: known are countdown, gsm8k"),
    ],
)
def test_what_cannot_be_graded(tmp_path, source, target, verifier, message):
    write(tmp_path / "in.jsonl", ROWS)
    done = run(tmp_path, source, target, verifier)
    assert done.returncode == 1 and message in done.stderr


def test_nothing_to_grade(tmp_path):
    write(tmp_path / "in.jsonl", [])
    done = run(tmp_path, "in.jsonl")
    assert done.stdout == "0 responses, 0 right: nothing to grade\n"
