"""Gold answers keep their spelling; missing, unreadable and contradicting ones are noticed and named by row."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_case import dataset_settings

from astarpo.common.settings import canonical_json
from astarpo.data.datasets import prepare
from astarpo.data.golds import GoldLog, gold_warnings, is_missing
from astarpo.data.sources import read_file

SCRIPT = Path(__file__).parent.parent / "workflow_scripts/prepare_dataset.py"


def settings(path, verifier="math", **changes):
    source = {"kind": "local", "path": str(path)}
    entry = {"source": source, "verifier": verifier, **changes}
    return dataset_settings(entry)


def write(folder, *lines):
    """Lines of JSON as they stand, so that the spelling of numbers is the test's own."""
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def golds(rows):
    return [row["gold"] for row in rows]


@pytest.mark.parametrize(
    "spelling", ["0.00001", "1e-05", "27.0", "478.0", "2.50", "-0.0", "1E400", "12345678901234567890.5"]
)
def test_numbers_of_json_keep_their_spelling(tmp_path, spelling):
    path = write(tmp_path, f'{{"problem": "p", "gold": {spelling}}}')
    assert golds(prepare(settings(path), "d")[0]) == [spelling]


def test_numbers_in_a_list_of_one_keep_their_spelling(tmp_path):
    path = write(tmp_path, '{"problem": "p", "gold": [0.00001]}')
    assert golds(prepare(settings(path), "d")[0]) == ["0.00001"]


def test_spelled_numbers_are_numbers_for_everybody_else(tmp_path):
    path = write(tmp_path, '{"problem": "p", "reward": 0.50}')
    (row,) = read_file(str(path))
    assert row["reward"] == 0.5 and json.dumps(row["reward"]) == "0.5"
    assert pa.Table.from_pylist([row])["reward"].to_pylist() == [0.5]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([0.00001, 27.0, 1e22]), ["0.00001", "27.0", "10000000000000000000000"]),
        (pa.array([0.1, 2.5], pa.float32()), ["0.1", "2.5"]),
        (pa.array([Decimal("0.0000001"), Decimal("3")], pa.decimal128(9, 7)), ["0.0000001", "3.0000000"]),
        (pa.array([2, None, 3]), ["2", "3"]),
        (pa.array([2.0, float("nan"), None]), ["2.0"]),
    ],
)
def test_numbers_of_parquet_have_no_exponent(tmp_path, column, expected):
    problems = [f"p{n}" for n in range(len(column))]
    pq.write_table(pa.table({"problem": problems, "gold": column}), tmp_path / "d.parquet")
    rows, card = prepare(settings(tmp_path / "d.parquet"), "d")
    assert golds(rows) == expected
    missing = len(column) - len(expected)
    assert card["rows_dropped"] == ({"gold answer is missing": missing} if missing else {})


@pytest.mark.parametrize("value", [None, float("nan"), pd.NA, pd.NaT, Decimal("NaN"), [None]])
def test_what_means_that_there_is_none(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", ["", "nan", "None", 0, 0.0, float("inf"), [], [None, 1], False])
def test_what_does_not(value):
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("verifier", "columns", "kept"),
    [
        ("math", {}, r"\\boxed{7}"),
        ("math", {"gold_boxed": True}, "7"),
        ("math", {"gold_after": "boxed"}, "{7}"),
        ("multiple", {"verifier": "kind"}, r"math: \\boxed{7}"),
    ],
)
def test_missing_golds_are_dropped_and_counted(tmp_path, verifier, columns, kept):
    values = ("null", "NaN", r'"\\boxed{7}"', "[null]")
    lines = [f'{{"problem": "p{n}", "kind": "math", "gold": {v}}}' for n, v in enumerate(values)]
    rows, card = prepare(settings(write(tmp_path, *lines), verifier, columns=columns), "d")
    assert golds(rows) == [kept.replace("\\\\", "\\")]
    assert card["rows_dropped"] == {"gold answer is missing": 3}


def test_a_float_that_is_an_integer_is_one_for_the_verifiers_of_numbers(tmp_path):
    path = write(tmp_path, '{"problem": "p", "gold": 478.0}', '{"problem": "q", "gold": 0.5}')
    rows, card = prepare(settings(path, "integer"), "d")
    assert golds(rows) == ["478.0"] and card["unreadable_golds"] == [{"row": 2, "gold": "0.5"}]
    assert golds(prepare(settings(path, "gsm8k"), "d")[0]) == ["478.0", "0.5"]


def test_unreadable_golds_are_listed_by_row(tmp_path):
    path = write(
        tmp_path,
        *(json.dumps({"problem": f"p{n}", "gold": n if n % 3 else "n" * 300}) for n in range(21)),
    )
    rows, card = prepare(settings(path, "integer"), "d")
    assert len(rows) == 14 and card["rows_dropped"] == {"gold answer does not verify against itself": 7}
    assert [one["row"] for one in card["unreadable_golds"]] == [1, 4, 7, 10, 13, 16, 19]
    assert {one["gold"] for one in card["unreadable_golds"]} == {"n" * 200}
    (line,) = gold_warnings(card)
    assert line.startswith("warning: verifier 'integer' cannot read 7 gold answers (row 1: 'nnn")
    assert "row 13: " in line and "row 16: " not in line and line.endswith("; and 2 more, see the card)")


def test_a_row_without_a_usable_answer_takes_the_place_of_none(tmp_path):
    path = write(tmp_path, '{"problem": "p", "gold": "two"}', '{"problem": "p", "gold": "2"}')
    rows, card = prepare(settings(path, "integer"), "d")
    assert (
        golds(rows) == ["2"]
        and rows[0]["prompt_id"]
        == prepare(settings(write(tmp_path, '{"problem": "p", "gold": "2"}'), "integer"), "d")[0][0]["prompt_id"]
    )
    assert card["differing_duplicates"] == []


@pytest.mark.parametrize("drop", [True, False])
def test_duplicate_problems_whose_golds_differ_are_listed(tmp_path, drop):
    path = write(
        tmp_path,
        r'{"problem": "p", "gold": "\\frac{1}{2}"}',
        '{"problem": "q", "gold": "1"}',
        '{"problem": "p", "gold": "1/2"}',
        '{"problem": "q", "gold": "1 "}',
        '{"problem": "p", "gold": "2"}',
    )
    rows, card = prepare(settings(path, drop_duplicates=drop), "d")
    assert len(rows) == (2 if drop else 5)
    assert card["differing_duplicates"] == [{"row": 5, "gold": "2", "first_row": 1, "first_gold": r"\frac{1}{2}"}]
    (line,) = gold_warnings(card)
    assert line == (r"warning: 1 duplicate problem (row 5: '2', but row 1: '\\frac{1}{2}'); their gold answers differ")


@pytest.mark.parametrize(
    ("verifier", "first", "second", "differ"),
    [
        ("gsm8k", "1,234", "1234", False),
        ("gsm8k", "1,234", "1235", True),
        ("integer", "7", "7.0", False),
        ("multiple", "integer: 7", "math: 7", False),
        ("multiple", "integer: 7", "math: 8", True),
        (
            "countdown",
            '{"numbers": [2, 3], "target": 6, "solution": "2*3"}',
            '{"numbers": [3, 2], "target": 6, "solution": "3*2"}',
            False,
        ),
        (
            "countdown",
            '{"numbers": [2, 3], "target": 6, "solution": "2*3"}',
            '{"numbers": [2, 3], "target": 5, "solution": "2+3"}',
            True,
        ),
        ("mine.py:f", "a", " a", False),
        ("mine.py:f", "a", "b", True),
    ],
)
def test_whether_two_golds_differ_is_for_their_verifier_to_say(verifier, first, second, differ):
    log = GoldLog(verifier)
    assert log.occurrence(1, "p", first) == 1
    assert log.occurrence(2, "p", second) == 2
    assert bool(log.entries()["differing_duplicates"]) is differ


def test_nothing_is_said_where_all_is_well(tmp_path):
    _, card = prepare(settings(write(tmp_path, '{"problem": "p", "gold": 1}')), "d")
    assert gold_warnings(card) == []


def test_the_script_says_it_on_the_terminal_and_in_the_card(tmp_path):
    path = write(
        tmp_path,
        '{"problem": "p", "gold": "x"}',
        '{"problem": "q", "gold": "1"}',
        '{"problem": "q", "gold": "2"}',
    )
    done = subprocess.run(
        [
            sys.executable,
            SCRIPT,
            "--settings",
            canonical_json(settings(path, "integer")),
            "--source",
            path,
            "--out",
            tmp_path / "d.parquet",
            "--out-card",
            tmp_path / "d.card.json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verifier 'integer' cannot read 1 gold answer (row 1: 'x')" in done.stdout
    assert "1 duplicate problem (row 3: '2', but row 2: '1'); their gold answers differ" in done.stdout
    card = json.loads((tmp_path / "d.card.json").read_text())
    assert [one["row"] for one in card["unreadable_golds"]] == [1]
    assert [one["row"] for one in card["differing_duplicates"]] == [3]
