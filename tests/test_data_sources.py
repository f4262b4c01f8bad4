"""Sources of data: real ones in their original columns, and what becomes of rows that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_case import dataset_settings

from astarpo.common.errors import InputError
from astarpo.data.datasets import prepare
from astarpo.data.settings import ChainSums, DatasetSettings, HubData
from astarpo.data.sources import describe_source, read_source
from astarpo.rewards.countdown import countdown
from astarpo.rewards.verifiers import Response, math

GSM8K = {
    "problem": "question",
    "gold": "answer",
    "gold_after": "####",
    "worked_solution": "answer",
    "worked_solution_remove": "<<[^>]*>>",
}
MATH = {"problem": "problem", "gold": "solution", "gold_boxed": True, "worked_solution": "solution"}


def settings(path: Path, columns: dict[str, Any], verifier: str, **changes: Any) -> DatasetSettings:
    """A data set's settings with every default, as the plan hands them on."""
    source = {"kind": "local", "path": str(path)}
    entry = {"source": source, "columns": columns, "verifier": verifier, **changes}
    return dataset_settings(entry)


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_gsm8k_rows(tmp_path):
    answer = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 1,024"
    path = write(tmp_path, [{"question": "How many?", "answer": answer}])
    rows, card = prepare(settings(path, GSM8K, "gsm8k", template="{problem} Think."), "gsm8k")
    assert rows[0]["problem"] == "How many?" and rows[0]["prompt"] == "How many? Think."
    assert rows[0]["gold"] == "1,024"
    assert rows[0]["worked_solution"] == "Natalia sold 48/2 = 24 clips in May.\n#### 1,024"
    assert (card["rows_in"], card["rows_kept"], card["rows_dropped"]) == (1, 1, {})


def test_math_rows_take_the_last_box_and_drop_what_has_none(tmp_path):
    solutions = [
        r"First \boxed{1}, which is half of it, so \boxed{\frac{1}{2}}",
        r"\boxed{(2,2)} and \boxed{(6,2)}",
        r"$\boxed{}$",
        "no box",
    ]
    path = write(tmp_path, [{"problem": f"p{n}", "solution": text} for n, text in enumerate(solutions)])
    rows, card = prepare(settings(path, MATH, "math"), "math")
    assert [row["gold"] for row in rows] == [r"\frac{1}{2}", "(2,2), (6,2)"]
    assert card["rows_dropped"] == {"no answer in its box": 2}


def test_a_gold_answer_that_its_verifier_cannot_read_is_dropped_and_counted(tmp_path):
    path = write(tmp_path, [{"problem": "p", "gold": "seven"}, {"problem": "q", "gold": 7}])
    rows, card = prepare(settings(path, {}, "integer"), "mine")
    assert [row["gold"] for row in rows] == ["7"]
    assert card["rows_dropped"] == {"gold answer does not verify against itself": 1}


@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("test", 1319)])
def test_all_of_gsm8k_is_usable(data_dir, split, count):
    told = settings(data_dir / f"gsm8k/{split}.jsonl", GSM8K, "gsm8k")
    rows, card = prepare(told, "gsm8k")
    assert (card["rows_in"], len(rows), card["rows_dropped"]) == (count, count, {})
    assert not any("<<" in row["worked_solution"] or ">>" in row["worked_solution"] for row in rows)
    assert all(row["worked_solution"].endswith(f"#### {row['gold']}") for row in rows)


@pytest.mark.parametrize(("split", "count", "empty"), [("train", 7500, 2), ("test", 5000, 0)])
def test_math_has_an_answer_in_every_row_but_two(data_dir, split, count, empty):
    rows, card = prepare(settings(data_dir / f"math/{split}.jsonl", MATH, "math"), "math")
    assert card["rows_in"] == count and len(rows) == count - empty
    assert card["rows_dropped"] == ({"no answer in its box": empty} if empty else {})


def test_answers_of_math_are_read_as_mathematics(data_dir):
    """Every 100th, in braces more than the gold answer has, so that the texts differ."""
    told = settings(data_dir / "math/test.jsonl", MATH, "math")
    golds = [row["gold"] for row in read_source(told.source, told.columns)][::100]
    judged = [math(gold, Response(rf"\boxed{{{{{gold}}}}}", [], "stop")).status for gold in golds]
    assert judged.count("correct") >= 0.9 * len(golds)


def test_a_row_without_the_mark_is_an_error_that_names_it(tmp_path):
    path = write(tmp_path, [{"question": "q", "answer": "#### 1"}, {"question": "r", "answer": "2"}])
    with pytest.raises(InputError, match=r"rows.jsonl, row 2: no '####' in column 'answer'"):
        prepare(settings(path, GSM8K, "gsm8k"), "gsm8k")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (r'{"question": "\ud83d", "answer": "#### 2"}', r"\ud83d is half of a character (a lone surrogate)"),
        (r'{"\udc00": 1, "question": "a", "answer": "#### 2"}', r"\udc00 is half of a character"),
        (
            '{"question": "a", "answer": ' + "1" * 5000 + "}",
            "an integer has too many digits to be read; put it in quotes",
        ),
        ('{"question": ' + "[" * 100_000 + "]" * 100_000 + "}", "lists and objects are nested too deeply"),
        ('{"question": "a"', "not valid JSON (Expecting"),
    ],
)
def test_a_line_that_no_table_can_hold_is_one_line(row, expected, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "\\ud83d\\ude00 a pair", "answer": "#### 1"}\n' + row + "\n")
    with pytest.raises(InputError) as caught:
        prepare(settings(path, GSM8K, "gsm8k"), "gsm8k")
    said = str(caught.value)
    assert said.startswith(f"{path}, line 2: {expected}") and "\n" not in said and len(said) < 300


@pytest.mark.parametrize(
    "value", [json.loads("[" * 900 + "]" * 900), {"a": "x" * 5000}, ["long"] * 5000], ids=["nested", "long", "many"]
)
def test_a_value_in_a_message_is_cut(value, tmp_path):
    path = write(tmp_path, [{"question": value, "answer": "#### 1"}])
    with pytest.raises(InputError) as caught:
        prepare(settings(path, GSM8K, "gsm8k"), "gsm8k")
    assert "column 'question': must be a string or a number, but is" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_source_is_named_in_messages():
    assert describe_source(HubData(kind="hub", id="openai/gsm8k", split="train")) == "openai/gsm8k"
    assert describe_source(ChainSums(kind="chain_sum", count=1)) == "chain_sum"


def test_countdown_problems_with_their_verifier():
    entry = {"source": {"kind": "countdown", "count": 50, "seed": 1}, "verifier": "countdown"}
    rows, card = prepare(dataset_settings(entry), "countdown")
    assert card["rows_kept"] == len(rows) >= 45 and set(card["rows_dropped"]) <= {"duplicate problem"}
    assert countdown(rows[0]["gold"], Response(rows[0]["worked_solution"], [], "stop")).status == "correct"


def test_a_data_set_that_mixes_kinds_of_answers(tmp_path):
    path = write(
        tmp_path,
        [
            {"problem": "p", "gold": "7", "kind": "integer"},
            {"problem": "q", "gold": r"\frac12", "kind": "math"},
            {"problem": "r", "gold": "seven", "kind": "integer"},
        ],
    )
    rows, card = prepare(settings(path, {"verifier": "kind"}, "multiple"), "mixed")
    assert [row["gold"] for row in rows] == ["integer: 7", r"math: \frac12"]
    assert card["rows_dropped"] == {"gold answer does not verify against itself": 1}
    with pytest.raises(InputError, match=r"row 1: there is no column 'sort' .columns.verifier."):
        prepare(settings(path, {"verifier": "sort"}, "multiple"), "mixed")
