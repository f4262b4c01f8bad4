"""Data sets: rows checked and counted, bad files named, splits kept apart."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from config_case import settings as stage_settings

from astarpo.common.errors import InputError
from astarpo.common.seeds import shard_of
from astarpo.config import load_config
from astarpo.data import datasets
from astarpo.data.settings import DatasetSettings

COLUMNS = {
    "problem": "problem",
    "gold": "gold",
    "worked_solution": None,
    "gold_after": None,
    "gold_boxed": False,
    "worked_solution_remove": None,
    "verifier": None,
}
GSM8K = {"problem": "question", "gold": "answer", "worked_solution": "answer", "gold_after": "####"}


def settings(source, columns=None, **changes):
    entry = {
        "source": source,
        "columns": {**COLUMNS, **(columns or {})},
        "hash_range": [0.0, 1.0],
        "max_prompts": None,
        "drop_duplicates": True,
        "template": "{problem} =",
        "verifier": "integer",
        **changes,
    }
    return DatasetSettings.from_json(json.dumps(entry))


def local(tmp_path, lines, name="data.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(lines if isinstance(lines[0], str) else map(json.dumps, lines)))
    return {"kind": "local", "path": str(path)}


def test_rows_and_card(tmp_path):
    source = local(
        tmp_path,
        [
            {"problem": "1+1", "gold": 2},
            {"problem": "1+1", "gold": 2},
            {"problem": "1+2", "gold": "three"},
            {"problem": "{x} 2+2", "gold": "4"},
            {"problem": "5+5", "gold": "10"},
        ],
    )
    rows, card = datasets.prepare(settings(source, max_prompts=2), "d")
    assert [(row["prompt"], row["gold"], row["source_index"]) for row in rows] == [
        ("1+1 =", "2", 0),
        ("{x} 2+2 =", "4", 3),
    ]
    assert (card["rows_in"], card["rows_kept"]) == (5, 2)
    assert card["rows_dropped"] == {
        "beyond max_prompts": 1,
        "duplicate problem": 1,
        "gold answer does not verify against itself": 1,
    }
    assert card["example"]["prompt"] == "1+1 =" and len(card["sha256"]) == 64


def test_duplicates_may_be_kept_and_stay_apart(tmp_path):
    source = local(tmp_path, [{"problem": "1+1", "gold": 2}] * 2)
    rows, _ = datasets.prepare(settings(source, drop_duplicates=False), "d")
    assert len({row["prompt_id"] for row in rows}) == 2


def test_prompt_ids_depend_on_the_problem_alone(tmp_path):
    some = [{"problem": f"{n}+1", "gold": n + 1} for n in range(5)]
    forwards, _ = datasets.prepare(settings(local(tmp_path, some, "a.jsonl")), "d")
    backwards, _ = datasets.prepare(settings(local(tmp_path, some[::-1], "b.jsonl")), "d")
    assert {r["prompt_id"]: r["problem"] for r in forwards} == {r["prompt_id"]: r["problem"] for r in backwards}


def test_hash_ranges_cut_the_rows_without_loss_or_overlap(tmp_path):
    source = local(tmp_path, [{"problem": f"{n}+1", "gold": n + 1} for n in range(200)])
    parts = [
        {row["problem"] for row in datasets.prepare(settings(source, hash_range=bounds), "d")[0]}
        for bounds in ([0.0, 0.3], [0.3, 0.8], [0.8, 1.0])
    ]
    assert sum(map(len, parts)) == 200 == len(set.union(*parts))
    assert [len(part) / 200 for part in parts] == pytest.approx([0.3, 0.5, 0.2], abs=0.1)


def test_white_space_and_case_do_not_move_a_problem_to_another_split():
    assert datasets.normalise("What  is\n1 + 1?") == datasets.normalise("what is 1 + 1?")


@pytest.mark.parametrize(
    ("lines", "columns", "expected"),
    [
        (['{"problem": "1+1", "gold": "2"}', "{nonsense"], {}, "data.jsonl, line 2: not valid JSON"),
        (["[1, 2]"], {}, "data.jsonl, line 1: must be a JSON object, but is list"),
        (
            ['{"question": "1+1"}'],
            {},
            "row 1: there is no column 'problem' (columns.problem); it has question",
        ),
        (['{"problem": "1+1"}'], {}, "row 1: there is no column 'gold'"),
        (['{"problem": "1+1", "gold": ""}'], {}, "row 1, column 'gold': is empty"),
        (
            ['{"problem": "1+1", "gold": true}'],
            {},
            "row 1, column 'gold': must be a string or a number",
        ),
        (
            ['{"problem": "1+1", "gold": Infinity}'],
            {},
            "row 1, column 'gold': must be a string or a number, but is inf",
        ),
        (
            ['{"problem": NaN, "gold": "2"}'],
            {},
            "row 1, column 'problem': must be a string or a number, but is nan",
        ),
        (['{"problem": "1+1", "gold": ' + "9" * 5000 + "}"], {}, "data.jsonl, line 1: an integer has too many digits"),
        (
            ['{"problem": ["1", "2"], "gold": "2"}'],
            {},
            "row 1, column 'problem': must be a string or a number",
        ),
        (
            ['{"problem": "1+1", "gold": "2"}'],
            {"gold_after": "####"},
            "row 1: no '####' in column 'gold'",
        ),
        (
            ['{"problem": "1+1", "gold": "2 ####"}'],
            {"gold_after": "####"},
            "row 1: the answer is empty",
        ),
        (['{"problem": "1+1", "gold": null}'], {}, "dropped: {'gold answer is missing': 1}"),
        (['{"problem": "1+1", "gold": "two"}'], {}, "none of 1 rows is left"),
        (['{"problem": "1+1", "gold": "two"}'], {}, "Row 1 has 'two'."),
    ],
)
def test_bad_data_is_named(tmp_path, lines, columns, expected):
    with pytest.raises(InputError) as caught:
        datasets.prepare(settings(local(tmp_path, lines), columns), "d")
    assert expected in str(caught.value)


def test_missing_and_unreadable_files(tmp_path):
    for name, content, expected in (
        ("absent.jsonl", None, "no such file"),
        ("data.csv", b"a,b", "must end in .jsonl or .parquet"),
        ("bad.parquet", b"nonsense", "not a readable parquet file"),
        ("bad.jsonl", b"\xff\xfe", "cannot be read as UTF-8"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=expected):
            datasets.prepare(settings({"kind": "local", "path": str(path)}), "d")


def test_parquet_files_are_read_too(tmp_path):
    pq.write_table(pa.table({"problem": ["1+1"], "gold": [2]}), tmp_path / "d.parquet")
    rows, _ = datasets.prepare(settings({"kind": "local", "path": str(tmp_path / "d.parquet")}), "d")
    assert rows[0]["gold"] == "2"


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path):
    source = local(tmp_path, [json.dumps({"problem": "1+\u20281", "gold": 2}, ensure_ascii=False)])
    assert len(datasets.prepare(settings(source), "d")[0]) == 1


def test_gsm8k_in_its_original_columns(tmp_path):
    row = {"question": "Half of 1,2?", "answer": "Half is <<12/2=6>>6.\n#### 1,006"}
    rows, _ = datasets.prepare(settings(local(tmp_path, [row]), GSM8K), "d")
    assert rows[0]["gold"] == "1,006" and rows[0]["worked_solution"].startswith("Half is")


def test_shards_cover_all_prompts_evenly():
    counts = [0] * 4
    for n in range(2000):
        counts[shard_of(datasets.prompt_id(str(n)), 4)] += 1
    assert min(counts) > 400


def test_the_splits_of_the_embedded_default_share_no_problem():
    config = load_config(yaml.safe_load((Path(__file__).parent.parent / "config/config.yaml").read_text()))
    problems = {
        name: {row["problem"] for row in datasets.prepare(DatasetSettings.from_json(text), name)[0]}
        for name, text in [
            *((name, stage_settings(config, "prepare_dataset", dataset=name)) for name in config.datasets),
            *((name, stage_settings(config, "prepare_benchmark", benchmark=name)) for name in config.benchmarks),
        ]
    }
    assert len(problems["sums"]) == 1024
    assert all(len(problems[name]) >= 256 for name in config.benchmarks)
    names = list(problems)
    for index, one in enumerate(names):
        assert all(not problems[one] & problems[other] for other in names[index + 1 :])


def test_no_right_answer_of_the_embedded_default_exceeds_max_new_tokens():
    from astarpo.model.scratch import byte_tokenizer

    config = load_config(yaml.safe_load((Path(__file__).parent.parent / "config/config.yaml").read_text()))
    reference = config.references["tiny"]
    tokenizer = byte_tokenizer(reference.source.whole_tokens, reference.source.max_positions)

    def longest(text):
        rows, _ = datasets.prepare(DatasetSettings.from_json(text), "d")
        encoded = tokenizer([row["worked_solution"] for row in rows])["input_ids"]
        prompts = tokenizer([row["prompt"] for row in rows])["input_ids"]
        assert max(map(len, prompts)) <= reference.max_prompt_tokens
        return max(map(len, encoded)) + 1  # and the end token

    needed = longest(stage_settings(config, "prepare_dataset", dataset="sums"))
    assert needed <= config.datasets["sums"].sampling.max_new_tokens
    for name, benchmark in config.benchmarks.items():
        needed = longest(stage_settings(config, "prepare_benchmark", benchmark=name))
        assert all(needed <= protocol.max_new_tokens for protocol in benchmark.protocols.values())
