r"""Contamination: the same problem in another spelling, near duplicates, and problems that are neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from config_case import inputs, settings
from data_case import dataset_settings
from hypothesis import example, given
from hypothesis import strategies as st

from astarpo.common.columns import DATASET
from astarpo.common.errors import InputError
from astarpo.common.files import read_json, write_table
from astarpo.config import load_config
from astarpo.config.policies import contamination_pairs
from astarpo.data.contamination import (
    contaminated,
    find_matches,
    ngrams,
    report,
    simplify,
)
from astarpo.data.datasets import prepare
from astarpo.data.settings import Contamination, Decontamination, LocalFile
from astarpo.data.sources import read_source
from astarpo.tables.contamination import contamination_page

ROOT = Path(__file__).resolve().parent.parent
NEAR = Contamination(ngram=3, threshold=0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  $2x$?", "what is $2 x$"),
        (r"$x^{2}+1$", "$x^2 + 1.$"),
        (r"Find $ab\,$.", "Find $ab$."),
        (r"\left(1,2\right)", "(1, 2)"),
        (r"\dfrac12, \ldots", r"\frac12, \dots"),
        ("1,000 cats", "1000 cats"),
        ("\uff11 + 1", "1 + 1"),  # a full-width digit
    ],
)
def test_the_same_problem_in_another_spelling(one, other):
    assert [match.kind for match in find_matches([one], [other], NEAR)] == ["exact"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5 apples", "15 apples"),
        ("2-1", "21"),
        ("x^2", "x_2"),
        ("1,000", "1000.5"),
        ("(1,2)", "(12)"),
        ("a", "b"),
    ],
)
def test_other_problems(one, other):
    assert not find_matches([one], [other], NEAR)


def test_overlap_worked_by_hand():
    """Four 3-grams, of which the first two are also in the longer text: one half."""
    assert ngrams("a b c d e f", 3) == {tuple("abc"), tuple("bcd"), tuple("cde"), tuple("def")}
    (match,) = find_matches(["a b c d e f"], ["x a b c d y z w"], NEAR)
    assert (match.kind, match.overlap) == ("near", 0.5)
    assert not find_matches(["a b c d e f"], ["x a b c d y z w"], Contamination(ngram=3, threshold=0.51))


def test_a_text_shorter_than_an_ngram_matches_exactly_or_not_at_all():
    assert [m.kind for m in find_matches(["a b"], ["A b", "a b c"], NEAR)] == ["exact"]


def test_what_goes_from_training():
    ours, theirs = ["a b c d", "p q r s t", "u"], ["a b c d", "p q r s z"]
    assert contaminated(ours, theirs, NEAR, near=True) == {0: "exact", 1: "near"}
    assert contaminated(ours, theirs, NEAR, near=False) == {0: "exact"}


@given(st.lists(st.text(max_size=30), max_size=4), st.lists(st.text(max_size=30), max_size=4))
def test_any_text(ours, theirs):
    for match in find_matches(ours, theirs, NEAR):
        assert 0.5 <= match.overlap <= 1
    for index, text in enumerate(ours):
        assert index in contaminated(ours, [text], NEAR, near=False)


@given(st.text(max_size=60))
@example(r"\.0")
@example("\\.\\.,.0 ...")
def test_simplifying_twice_is_simplifying_once(text):
    once = simplify(text)
    assert "".join(simplify(once).split()) == "".join(once.split())


def rows(*problems: str) -> list[dict]:
    return [
        {
            "prompt_id": f"id-{n}",
            "problem": text,
            "prompt": text,
            "gold": "1",
            "verifier": "integer",
            "worked_solution": None,
            "source_index": n,
        }
        for n, text in enumerate(problems)
    ]


def test_counts_are_of_problems_not_of_pairs():
    found = report(rows("a b c d", "A b c d.", "x"), rows("a b c d", "a b c e", "z"), NEAR)
    assert (found["dataset_exact"], found["benchmark_exact"], found["pairs"]) == (2, 1, 4)
    assert (found["dataset_exact_or_near"], found["benchmark_exact_or_near"]) == (2, 2)
    assert [pair["kind"] for pair in found["listed"]] == ["exact", "exact", "near", "near"]
    assert found["listed"][0]["dataset_prompt_id"] == "id-0"


def test_the_scripts(tmp_path):
    for name, texts in (("ours", ["a <b> c d"]), ("theirs", ["a <b> c d", "e"])):
        write_table(tmp_path / f"{name}.parquet", rows(*texts), DATASET)
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "workflow_scripts/check_contamination.py",
            "--settings",
            json.dumps({"ngram": 3, "threshold": 0.5}),
            "--dataset",
            tmp_path / "ours.parquet",
            "--benchmark",
            tmp_path / "theirs.parquet",
            "--out",
            tmp_path / "found.json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 of 2 problems of theirs are in ours, 1 with near duplicates" in done.stdout
    subprocess.run(
        [
            sys.executable,
            ROOT / "workflow_scripts/show_contamination.py",
            "--settings",
            "{}",
            "--reports",
            tmp_path / "found.json",
            "--out-csv",
            tmp_path / "c.csv",
            "--out-html",
            tmp_path / "c.html",
        ],
        check=True,
    )
    assert "ours,theirs,1,2,1,1,1,1,3,0.5" in (tmp_path / "c.csv").read_text()
    page = (tmp_path / "c.html").read_text()
    assert "a &lt;b&gt; c d" in page and "50% of the 3-grams" in page
    assert read_json(tmp_path / "found.json")["provenance"]["inputs"].keys() == {
        "dataset",
        "benchmark",
    }
    assert "no benchmark in use" in contamination_page([])


def test_a_data_set_drops_what_its_entry_asks_for(tmp_path):
    path = tmp_path / "rows.jsonl"
    texts = ["a b c d", "p q r s t", "u"]
    path.write_text("".join(json.dumps({"problem": t, "gold": "1"}) + "\n" for t in texts))
    entry = {"source": {"kind": "local", "path": str(path)}, "verifier": "integer"}
    told = dataset_settings(entry, Decontamination(near=True, ngram=3, threshold=0.5))
    kept, card = prepare(told, "mine", {"one": ["A B C D"], "two": ["p q r s z", "a b c d"]})
    assert [row["problem"] for row in kept] == ["u"]
    assert card["rows_dropped"] == {"in benchmark one (exact)": 1, "in benchmark two (near)": 1}


def config(**changes) -> dict:
    import yaml

    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    raw["datasets"]["sums"] |= changes
    return raw


def test_a_new_benchmark_is_an_input_of_the_data_set_only_where_it_says_so():
    default = load_config(config())
    assert inputs(default, "prepare_dataset", dataset="sums") == {}
    assert json.loads(settings(default, "prepare_dataset", dataset="sums"))["decontaminate"] is None
    assert ("sums", "held-out") in contamination_pairs(default)
    assert ("sums-warm-start", "one-more-term") in contamination_pairs(default)
    changed = load_config(config(decontaminate=["held-out"]))
    held_out = ["results/benchmarks/held-out.parquet"]
    assert inputs(changed, "prepare_dataset", dataset="sums") == {"benchmark": held_out}
    assert json.loads(settings(changed, "prepare_dataset", dataset="sums"))["decontaminate"] == {
        "near": True,
        "ngram": 8,
        "threshold": 0.7,
    }
    with pytest.raises(InputError, match="datasets.sums.decontaminate = 'gone': no such entry"):
        load_config(config(decontaminate=["gone"]))


# Real data


TWINS = {
    ("train/algebra/517.json", "test/algebra/636.json"),
    ("train/algebra/777.json", "test/algebra/1674.json"),
    ("train/algebra/2197.json", "test/intermediate_algebra/965.json"),
    ("train/geometry/6032.json", "test/precalculus/24307.json"),
}


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_known_twins_of_math_are_found(data_dir):
    train, test = (read_lines(data_dir / f"math/{split}.jsonl") for split in ("train", "test"))
    matches = find_matches(
        [row["problem"] for row in train], [row["problem"] for row in test], Contamination(ngram=8, threshold=0.7)
    )
    exact = {
        (train[m.dataset_index]["unique_id"], test[m.benchmark_index]["unique_id"])
        for m in matches
        if m.kind == "exact"
    }
    assert exact == TWINS


def test_the_two_problems_of_olympiadbench_in_math_are_found(data_dir):
    train = read_lines(data_dir / "math/train.jsonl")
    olympiad = read_lines(data_dir / "olympiadbench/test.jsonl")
    matches = find_matches(
        [row["problem"] for row in train], [row["question"] for row in olympiad], Contamination(ngram=8, threshold=0.7)
    )
    exact = {
        (train[m.dataset_index]["unique_id"], olympiad[m.benchmark_index]["id"]) for m in matches if m.kind == "exact"
    }
    assert exact == {
        ("train/intermediate_algebra/753.json", 2791),
        ("train/intermediate_algebra/1087.json", 2890),
    }


def test_the_split_of_math_in_12000_and_500(data_dir):
    """All of both files but for the 500, two of which rows have no answer."""
    columns = {"problem": "problem", "gold": "solution", "gold_boxed": True}
    paths = [str(data_dir / f"math/{split}.jsonl") for split in ("train", "test")]
    entry = {
        "source": {"kind": "local", "path": paths},
        "columns": columns,
        "verifier": "math",
        "drop_duplicates": False,
    }
    told = dataset_settings(entry, Decontamination(near=False, ngram=8, threshold=0.7))
    source = LocalFile(kind="local", path=str(data_dir / "math500/test.jsonl"))
    columns = told.columns.changed(gold="answer", gold_boxed=False)
    problems = [row["problem"] for row in read_source(source, columns)]
    kept, card = prepare(told, "math-12k", {"math-500": problems})
    assert card["rows_in"] == 12_500
    assert card["rows_dropped"] == {
        "in benchmark math-500 (exact)": 500,
        "no answer in its box": 2,
    }
    assert len(kept) == 11_998
