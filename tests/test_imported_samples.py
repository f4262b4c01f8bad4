"""Imported samples: matched by text, counted if unmatched, graded like any other, without loading a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import warm_snakemake
import yaml

from astarpo.common.errors import InputError
from astarpo.common.files import read_json, read_table, table_metadata
from astarpo.config import load_config
from astarpo.sampling.imported import import_rows
from astarpo.sampling.settings import ImportedSamplesSettings

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = [
    {"prompt_id": "a", "problem": "1 + 1", "prompt": "1 + 1 = ?"},
    {"prompt_id": "b", "problem": "2 + 2", "prompt": "2 + 2 = ?"},
]


def wide(path: Path, rows: list[dict[str, Any]], **changes: Any) -> ImportedSamplesSettings:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = {"problem": "problem", "response": "response_{i}", **changes}
    return ImportedSamplesSettings(source={"kind": "local", "path": str(path)}, **columns)


def row(problem: str, *responses: str, **more: Any) -> dict[str, Any]:
    return {
        "problem": problem,
        **{f"response_{n}": text for n, text in enumerate(responses)},
        **more,
    }


def test_samples_find_their_prompt_by_its_text_in_any_order(tmp_path):
    told = wide(tmp_path / "s.jsonl", [row("2  + 2 ", "b0", "b1"), row("1 + 1", "a0", "a1")])
    rows, counts = import_rows(told, PROMPTS, range(1, 2))
    assert [(r["prompt_id"], r["sample_index"], r["response"]) for r in rows] == [
        ("a", 1, "a1"),
        ("b", 1, "b1"),
    ]
    assert rows[0]["seed"] is None and rows[0]["imported_reward"] is None
    assert counts == {
        "samples_per_prompt": 2,
        "prompts_matched": 2,
        "prompts_unmatched": 0,
        "problems_in_source": 2,
        "problems_in_source_unused": 0,
    }


def test_the_columns_that_the_papers_authors_publish(tmp_path):
    """Their files hold the rendered prompt as a chat of one message, responses and rewards, and no bare problem."""
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt["prompt"]}],
            "response_0": "x",
            "response_1": "y",
            "eval_0": 1,
            "eval_1": 0.0,
        }
        for prompt in PROMPTS
    ]
    told = wide(tmp_path / "s.jsonl", rows, problem=None, prompt="prompt", reward="eval_{i}")
    found, _ = import_rows(told, PROMPTS, range(2))
    assert [r["imported_reward"] for r in found] == [1.0, 0.0, 1.0, 0.0]
    assert [r["response"] for r in found] == ["x", "y", "x", "y"]


def test_a_row_a_response(tmp_path):
    texts = ["a0", "b0", "a1", "b1"]
    rows = [{"problem": PROMPTS[n % 2]["problem"], "text": text, "end": "stop"} for n, text in enumerate(texts)]
    told = wide(tmp_path / "s.jsonl", rows, response="text", finish_reason="end")
    found, _ = import_rows(told, PROMPTS, range(2))
    assert [r["response"] for r in found] == ["a0", "a1", "b0", "b1"]
    assert {r["finish_reason"] for r in found} == {"stop"}


def test_twins_take_one_row_each(tmp_path):
    twins = [{**PROMPTS[0], "prompt_id": name} for name in ("a", "a-2")]
    told = wide(tmp_path / "s.jsonl", [row("1 + 1", "first"), row("1 + 1", "second")])
    assert [r["response"] for r in import_rows(told, twins, range(1))[0]] == ["first", "second"]


def test_unmatched_prompts_are_refused_or_counted(tmp_path):
    told = wide(tmp_path / "s.jsonl", [row("1 + 1", "a0"), row("3 + 3", "c0")])
    with pytest.raises(InputError, match="1 of 2 prompts have fewer than 1 samples there.*'2 [+] 2'"):
        import_rows(told, PROMPTS, range(1))
    found, counts = import_rows(told.changed(max_unmatched=0.5), PROMPTS, range(1))
    assert [r["prompt_id"] for r in found] == ["a"]
    assert counts["prompts_unmatched"] == 1 and counts["problems_in_source_unused"] == 1


def test_a_prompt_with_too_few_samples_is_unmatched_in_every_block(tmp_path):
    rows = [{"problem": "1 + 1", "text": t} for t in "wxyz"] + [{"problem": "2 + 2", "text": "v"}]
    told = wide(tmp_path / "s.jsonl", rows, response="text", max_unmatched=0.5)
    for block in (range(2), range(2, 4)):
        assert {r["prompt_id"] for r in import_rows(told, PROMPTS, block)[0]} == {"a"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": "answer_{i}"}, "no column 'answer_0' .samples.response.; it has problem, "),
        ({"problem": "question"}, "no column 'question' .samples.problem."),
        ({"reward": "score_{i}"}, "a reward must be 0 or 1 .* but is 0.5"),
        ({"finish_reason": "end_{i}"}, "must be 'stop' or 'length', but is 'eos'"),
        ({"response": "score_{i}"}, "must be a string, but is 0.5"),
    ],
)
def test_nonsense_is_named_with_its_row(tmp_path, change, message):
    rows = [row("1 + 1", "a0", score_0=0.5, end_0="eos"), row("2 + 2", "b0")]
    with pytest.raises(InputError, match=f"s.jsonl, row 1.*{message}"):
        import_rows(wide(tmp_path / "s.jsonl", rows, **change), PROMPTS, range(1))


def test_more_samples_than_there_are(tmp_path):
    told = wide(tmp_path / "s.jsonl", [row("1 + 1", "a0"), row("2 + 2", "b0")])
    with pytest.raises(InputError, match="has 1 samples per problem, but sample 3 .* is needed"):
        import_rows(told, PROMPTS, range(2, 4))


# The whole of stage 1, through Snakemake.


def default_config() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "config/config.yaml").read_text()))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"problem": None}, "give either `problem` or `prompt`"),
        ({"prompt": "prompt"}, "give either `problem` or `prompt`"),
        ({"response": None}, "give `response`, `reward` or both"),
        ({"reward": "eval"}, "need {i} (one row per problem), or none (one row per response)"),
        ({"reference": "gone"}, "datasets.sums.samples.reference = 'gone': no such entry"),
        ({"colums": "x"}, "unknown key 'colums'"),
    ],
)
def test_contradictions_are_refused_at_the_start(samples, message):
    raw = default_config()
    source = {"kind": "local", "path": "samples.parquet"}
    entry = {"reference": "tiny", "source": source, "problem": "p", "response": "r_{i}"}
    raw["datasets"]["sums"]["samples"] = {**entry, **samples}
    with pytest.raises(InputError) as caught:
        load_config(raw)
    assert message in str(caught.value)


def snakemake(folder: Path, *options: str) -> str:
    files = [str(ROOT / "config/config.yaml"), str(ROOT / "tests/configs/smoke.yaml"), "mine.yaml"]
    options = ("--snakefile", "Snakefile", "--cores", "1", *options, "--configfile", *files)
    done = warm_snakemake.snakemake(folder, *options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_stage_one_from_imported_samples(tmp_path):
    for name in ("Snakefile", "rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mine.yaml").write_text("{}\n")
    snakemake(tmp_path, "results/datasets/sums.parquet")
    problems = read_table(tmp_path / "results/datasets/sums.parquet").to_pylist()
    rows = [row(p["problem"], *[rf"\boxed{{{p['gold']}}}"] * 3, "so it is 7", eval_0=1, eval_1=0) for p in problems]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    samples = {
        "reference": "tiny",
        "source": {"kind": "local", "path": "samples.jsonl"},
        "problem": "problem",
        "response": "response_{i}",
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"sums": {"samples": samples}}}))

    printed = snakemake(tmp_path, "results/values/v-star.parquet")

    assert "import_samples" in printed
    assert "sample_reference" not in printed and "prepare_reference" not in printed
    values = read_table(tmp_path / "results/values/v-star.parquet").to_pylist()
    assert len(values) == 64 and {(v["n"], v["n_correct"]) for v in values} == {(4, 3)}
    block = tmp_path / "results/samples/tiny/sums/block-s0-p0.parquet"
    assert pq.read_schema(block).names[:-1] == [
        "prompt_id",
        "sample_index",
        "seed",
        "response_token_ids",
        "response",
        "finish_reason",
        "n_tokens",
        "logprob_sum",
    ]
    manifest = read_json(block.with_name("block-s0-p0.manifest.json"))
    assert manifest["imported"]["prompts_matched"] == 64
    assert table_metadata(block)["imported"]["source"] == samples["source"]

    # Rewards alone, as the verifier cannot be asked; another file of samples runs stage 1 again.
    for r in rows:
        r |= {f"eval_{n}": int(n == 0) for n in range(4)}
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    samples = {**samples, "reward": "eval_{i}"}
    del samples["response"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"sums": {"samples": samples}}}))
    snakemake(tmp_path, "results/values/v-star.parquet")
    values = read_table(tmp_path / "results/values/v-star.parquet").to_pylist()
    assert {(v["n"], v["n_correct"]) for v in values} == {(4, 1)}


def test_what_the_tables_expect_of_imported_samples():
    from astarpo.config.tables_plan import tables_plan

    raw = default_config()
    source = {"kind": "local", "path": "samples.jsonl"}
    raw["datasets"]["sums"]["samples"] = {
        "reference": "tiny",
        "source": source,
        "problem": "problem",
        "response": "response_{i}",
    }
    plan = json.loads(tables_plan(load_config(raw)))
    rules = {entry["rule"]: entry for entry in plan["expected"]}
    assert "sample_reference" not in rules
    assert rules["import_samples"]["inputs"]["source"] == "samples.jsonl"


def test_a_verifier_of_ones_own_in_the_workflow(tmp_path):
    """It grades, it is an input of grading, and an edit of it grades anew and prepares nothing anew."""
    for name in ("Snakefile", "rules", "workflow_scripts", "config", "envs", "profiles", "report"):
        (tmp_path / name).symlink_to(ROOT / name)
    verifier = tmp_path / "mine.py"
    verifier.write_text("def ends(gold, response):\n    return response.text.endswith(gold)\n")
    samples = {
        "reference": "tiny",
        "source": {"kind": "local", "path": "samples.jsonl"},
        "problem": "problem",
        "response": "response_{i}",
    }
    sums = {"samples": samples, "verifier": "mine.py:ends"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"sums": sums}}))
    (tmp_path / "samples.jsonl").write_text("")
    snakemake(tmp_path, "results/datasets/sums.parquet")
    problems = read_table(tmp_path / "results/datasets/sums.parquet").to_pylist()
    rows = [row(p["problem"], "= " + p["gold"], "no", "no", "no") for p in problems]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    snakemake(tmp_path, "results/values/v-star.parquet")
    values = read_table(tmp_path / "results/values/v-star.parquet").to_pylist()
    assert {(v["n"], v["n_correct"]) for v in values} == {(4, 1)}

    verifier.write_text("def ends(gold, response):\n    return response.text == 'no'\n")
    printed = snakemake(tmp_path, "results/values/v-star.parquet", "-n", "--quiet", "host")
    assert "rule grade_samples:" in printed and "rule estimate_values:" in printed
    assert "rule prepare_dataset:" not in printed and "rule import_samples:" not in printed
    snakemake(tmp_path, "results/values/v-star.parquet")
    values = read_table(tmp_path / "results/values/v-star.parquet").to_pylist()
    assert {(v["n"], v["n_correct"]) for v in values} == {(4, 3)}
