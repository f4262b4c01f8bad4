"""Provenance: deterministic, complete, and independent of the times in a manifest."""

import json
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from astarpo.common import provenance
from astarpo.common.errors import InputError
from astarpo.common.files import sha256, write_json, write_table
from astarpo.model.files import described_folder
from astarpo.tables.checks import check_manifest
from astarpo.tables.trainings import _field

SCRIPT = Path(__file__).parent.parent / "workflow_scripts" / "train_policy.py"


def test_the_same_files_give_the_same_provenance(tmp_path):
    (tmp_path / "data").write_text("x")
    first = provenance.provenance(SCRIPT, '{"a":1}', {"dataset": tmp_path / "data"})
    assert first == provenance.provenance(SCRIPT, '{"a":1}', {"dataset": tmp_path / "data"})
    assert first["inputs"] == {"dataset": sha256(tmp_path / "data")} and first["settings"] == '{"a":1}'


def test_a_manifest_stands_for_its_outputs_not_for_its_times(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("w")
    for name, seconds in (("a.manifest.json", 1.0), ("b.manifest.json", 2.0)):
        write_json(tmp_path / name, provenance.manifest({}, {"model": tmp_path / "model"}, seconds))
    hashes = {provenance.content_sha256(tmp_path / f"{n}.manifest.json") for n in "ab"}
    assert hashes == {sha256(tmp_path / "model")}


def test_a_manifest_says_what_it_ran_on(tmp_path):
    made = provenance.manifest({"settings": "{}"}, {}, 1.5, prompts=3)
    assert made["seconds"] == 1.5 and made["prompts"] == 3 and made["settings"] == "{}"
    assert made["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "torch" in made["versions"] and " x " in made["hardware"]


def test_provenance_is_read_from_json_and_parquet(tmp_path):
    write_json(tmp_path / "manifest.json", {"settings": "{}"})
    write_table(
        tmp_path / "t.parquet",
        [],
        pa.schema([("a", pa.int64())]),
        {"provenance": {"settings": "1"}},
    )
    assert provenance.read_provenance(tmp_path / "manifest.json")["settings"] == "{}"
    assert provenance.read_provenance(tmp_path / "t.parquet") == {"settings": "1"}


WHOLE = {"settings": "{}", "inputs": {"a": "1"}, "outputs": {"model": "2"}, "code": "3", "seconds": 1, "seed": 0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        json.dumps(WHOLE)[:-9].encode(),
        b"\x00\xff\xfe\x93",
        b"[1, 2]",
        b"null",
        b'{"outputs": ' + b"[" * 99_999,
        json.dumps({**WHOLE, "seconds": 0}).replace('"seconds": 0', '"seconds": ' + "1" * 5000).encode(),
        *(
            json.dumps({**WHOLE, key: wrong}).encode()
            for key in WHOLE
            for wrong in ("" if key == "seed" else None, [1], {"a": 1}, {"a": None})
        ),
    ],
)
def test_a_damaged_manifest_is_one_line_for_everyone_who_reads_it(content, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    (tmp_path / "model").mkdir()
    for read in (
        provenance.read_manifest,
        provenance.read_provenance,
        provenance.content_sha256,
        described_folder,
        partial(check_manifest, expected_settings="{}", actual_inputs={}, rule="train_policy"),
        partial(_field, name="seconds"),
    ):
        with pytest.raises(
            InputError, match=rf"^{path}: [^\n]{{9,400}}; if the workflow made it, delete it, and [^\n]*$"
        ):
            read(path)


def test_a_manifest_without_outputs_is_damaged(tmp_path):
    write_json(tmp_path / "manifest.json", {"settings": "{}"})
    with pytest.raises(InputError, match="does not list any outputs"):
        provenance.read_manifest(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {"outputs": {"table": "1"}})
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="its files are not those that"):
        described_folder(tmp_path / "manifest.json")


def test_a_table_with_a_damaged_record_is_refused(tmp_path):
    write_table(tmp_path / "t", [], pa.schema([("a", pa.int64())]), {"provenance": {"inputs": {"a": 1}}})
    with pytest.raises(InputError, match="t: damaged, its key 'inputs' is {'a': 1}"):
        provenance.read_provenance(tmp_path / "t")


def test_a_real_manifest_is_json(tmp_path):
    write_json(tmp_path / "m.json", provenance.manifest({}, {}, 0.0))
    assert json.loads((tmp_path / "m.json").read_text())["seconds"] == 0.0


def test_a_gpu_that_is_there_but_not_used_is_not_recorded(monkeypatch):
    import torch

    from astarpo.training.metrics import peak_memory_bytes

    expected = provenance.hardware()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert provenance.hardware() == expected
    assert peak_memory_bytes() > 10**6  # resident memory of this process, not 0 of a GPU
