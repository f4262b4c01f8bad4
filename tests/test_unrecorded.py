"""Results that Snakemake has no record of: stale ones are named each time it starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import warm_snakemake
from config_case import DEFAULT

from astarpo.common.code import read_code
from astarpo.common.files import write_json, write_table
from astarpo.config import load_config
from astarpo.config.expected import expected_results
from astarpo.reruns.unrecorded import METADATA, Stale, _record, describe, is_unrecorded, stale_results

ROOT = Path(__file__).resolve().parent.parent
CODE = read_code("grade_samples", ()).sha256


def entry(file: str, settings: str = '{"a":1,"b":{"c":2}}') -> dict[str, object]:
    return {"file": file, "rule": "grade_samples", "settings": settings, "inputs": {}, "chosen": []}


def test_settings_and_code_are_compared_with_what_a_result_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    right = {"settings": '{"b": {"c": 2}, "a": 1}', "code": CODE, "outputs": {}}
    write_json("right.json", right)
    write_json("settings.json", {**right, "settings": '{"a":1,"b":{"c":3},"d":null}'})
    write_json("code.json", {**right, "code": "0"})
    write_json("nothing.json", {"outputs": {}})
    Path("damaged.json").write_text("{")
    provenance = {"provenance": {**right, "settings": '{"a":2,"b":{"c":2}}'}}
    write_table("t.parquet", [], pa.schema([("a", pa.int64())]), provenance)
    files = ("right.json", "settings.json", "code.json", "nothing.json", "damaged.json", "t.parquet")
    assert stale_results([entry(file) for file in files]) == [
        Stale("settings.json", "settings: b.c, d"),
        Stale("code.json", "code"),
        Stale("nothing.json", "without a record of its settings"),
        Stale("damaged.json", "damaged"),
        Stale("t.parquet", "settings: a"),
    ]


def test_one_line_names_some_and_counts_the_rest():
    said = describe([Stale(f"r{number}", "code") for number in range(5)])
    assert "would not run again: r0 (code), r1 (code), r2 (code) and 2 more; delete them" in said and "\n" not in said
    assert "r0 (code); delete" in describe([Stale("r0", "code")])


def test_only_results_that_exist_and_have_no_record_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(DEFAULT)
    names = [one["file"] for one in expected_results(config)]
    assert len(names) > 20 and not expected_results(config, is_unrecorded)
    for name in names[:3]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    _record(names[1]).parent.mkdir(parents=True)
    _record(names[1]).touch()
    assert [one["file"] for one in expected_results(config, is_unrecorded)] == [names[0], names[2]]


@pytest.mark.parametrize("length", [10, 190, 191, 192, 400])
def test_the_place_of_a_record_is_snakemakes(length, tmp_path, monkeypatch):
    from snakemake.persistence.file import FilePersistence

    monkeypatch.chdir(tmp_path)
    file = "results/" + "x" * length
    persistence = FilePersistence(nolock=True)
    assert _record(file) == Path(os.path.relpath(persistence._record_path(persistence._metadata_path, file)))
    assert METADATA.is_dir()


def snakemake(folder: Path, *options: str) -> tuple[int, str]:
    done = warm_snakemake.snakemake(folder, "--cores", "1", "-s", str(ROOT / "Snakefile"), *options)
    return done.returncode, done.stdout


def test_an_edit_after_the_records_were_deleted_is_not_silent(tmp_path):
    target = "results/datasets/sums-validation.parquet"
    edit = ("--config", "datasets={sums-validation: {max_prompts: 100}}")
    assert snakemake(tmp_path, target)[0] == 0
    shutil.rmtree(tmp_path / ".snakemake")
    status, said = snakemake(tmp_path, target, *edit)
    assert status == 0 and "Nothing to be done" in said
    warnings = [
        line for line in said.splitlines() if line.startswith("warning: made with other settings or code than now")
    ]
    assert len(warnings) == 1 and f"{target} (settings: max_prompts); delete them" in warnings[0]
    # Nor are jobs started beside it.
    other = "results/benchmarks/one-more-term.parquet"
    status, said = snakemake(tmp_path, target, other, *edit)
    assert status == 1 and "WorkflowError" in said and "Traceback" not in said and not (tmp_path / other).exists()
