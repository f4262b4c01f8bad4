"""Grade a file of responses without the workflow: JSON Lines or parquet in and out.

The input has the columns `gold` and `response`, and may have `finish_reason` (stop or length). The output
has the same rows and columns in the same order, plus `reward` (1, 0 or null), `status` and `answer`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from astarpo.common import cli
from astarpo.common.errors import InputError, shortened
from astarpo.common.progress import Progress

CHUNK = 1000
FORMATS = (".jsonl", ".parquet")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="file, .jsonl or .parquet")
    parser.add_argument("--output", required=True, help="file to write, .jsonl or .parquet")
    parser.add_argument("--verifier", required=True, help="name, or path/to/file.py:function")
    parser.add_argument(
        "--truncated",
        choices=("incorrect", "as_judged"),
        default="incorrect",
        help="how to grade a response with finish_reason length",
    )
    parser.add_argument("--timeout-s", type=float, default=5.0, help="CPU seconds for one response")
    parser.add_argument(
        "--wall-timeout-s",
        type=float,
        help="wall-clock seconds for one response (default: ten times as many, at least 60)",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes for slow verifiers")
    parser.add_argument(
        "--max-null-rate",
        type=float,
        default=0.02,
        help="stop if more of the last 1,000 grades, and at least 20, are null",
    )
    parser.add_argument(
        "--deterministic",
        choices=("yes", "no"),
        default="yes",
        help="grade 32 responses twice with a custom verifier, and stop if two grades differ",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()

    from astarpo.rewards.grading import Grader, Question, status_counts
    from astarpo.rewards.settings import GradingSettings
    from astarpo.rewards.verifiers import Response, problem_with

    for path in (arguments.input, arguments.output):
        if Path(path).suffix not in FORMATS:
            raise InputError(f"{path}: must end in {' or '.join(FORMATS)}")
    problem = problem_with(arguments.verifier)
    if problem is not None:
        raise InputError(f"--verifier {arguments.verifier}: {problem}")
    rows = _read(arguments.input)
    settings = GradingSettings(
        truncated=arguments.truncated,
        max_null_rate=arguments.max_null_rate,
        timeout_s=arguments.timeout_s,
        wall_timeout_s=arguments.wall_timeout_s,
        deterministic=arguments.deterministic == "yes",
    )
    items = [
        Question(arguments.verifier, row["gold"], Response(row["response"], [], row.get("finish_reason") or "stop"))
        for row in rows
    ]
    grades = []
    with (
        Grader(settings, arguments.workers) as grader,
        Progress("grade", len(items), "responses", lines=sys.stderr) as progress,
    ):
        grader.check_canaries([arguments.verifier])
        for start in range(0, len(items), CHUNK):
            grades += grader.grade(items[start : start + CHUNK])
            progress.advance(len(items[start : start + CHUNK]))
    for row, graded in zip(rows, grades, strict=True):
        row |= {"reward": graded.reward, "status": graded.status, "answer": graded.answer}
    _write(arguments.output, rows)
    right = sum(graded.reward == 1.0 for graded in grades)
    counts = ", ".join(f"{n} {name}" for name, n in sorted(status_counts(grades).items()))
    print(f"{len(rows)} responses, {right} right: {counts or 'nothing to grade'}")


def _read(path: str) -> list[dict[str, Any]]:
    from astarpo.data.sources import read_file

    rows = []
    for number, raw in enumerate(read_file(path), start=1):
        row = dict(raw)
        for column in ("gold", "response"):
            if column not in row:
                raise InputError(f"{path}, row {number}: there is no column {column!r}; it has {', '.join(row)}")
            if not isinstance(row[column], str):
                hint = "; write a number as a string" if isinstance(row[column], (int, float)) else ""
                raise InputError(
                    f"{path}, row {number}, column {column!r}: must be a string, but is {shortened(row[column])}{hint}"
                )
        if row.get("finish_reason") not in (None, "stop", "length"):
            raise InputError(
                f"{path}, row {number}, column 'finish_reason': must be 'stop' or 'length', but is "
                f"{shortened(row['finish_reason'])}"
            )
        rows.append(row)
    return rows


def _write(path: str, rows: list[dict[str, Any]]) -> None:
    from astarpo.common.files import write_table, write_text

    if path.endswith(".jsonl"):
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    import pyarrow as pa

    table = pa.Table.from_pylist(rows)
    for name, kind in (("reward", pa.float64()), ("status", pa.string()), ("answer", pa.string())):
        column = pa.array([row[name] for row in rows], kind)
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    write_table(path, table, table.schema)


if __name__ == "__main__":
    cli.run(main)
