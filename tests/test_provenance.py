"""Provenance: deterministic, complete, and independent of the times in a manifest."""

import json
import sys
from pathlib import Path

from astarpo.common import provenance
from astarpo.common.files import sha256, write_json, write_table

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
    import pyarrow as pa

    write_json(tmp_path / "manifest.json", {"settings": "{}"})
    write_table(
        tmp_path / "t.parquet",
        [],
        pa.schema([("a", pa.int64())]),
        {"provenance": {"settings": "1"}},
    )
    assert provenance.read_provenance(tmp_path / "manifest.json")["settings"] == "{}"
    assert provenance.read_provenance(tmp_path / "t.parquet") == {"settings": "1"}


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
