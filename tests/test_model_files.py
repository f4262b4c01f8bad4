"""What of a model folder is read, and that its content counts while its times do not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import model_case
import pytest
import yaml
from config_case import inputs, settings

from astarpo.common import hashes
from astarpo.common.files import sha256
from astarpo.common.hashes import remembered_sha256
from astarpo.common.provenance import content_sha256
from astarpo.config import load_config
from astarpo.config.expected import flat
from astarpo.config.lengths import lengths_json
from astarpo.model.files import content_of, files_of, weight_files
from astarpo.model.loading import load_policy
from astarpo.model.memory import parameters_of_folder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    made = model_case.tokenizer(template=model_case.CHATML)
    model_case.folder(tmp_path / "m", model_case.llama(len(made)), made)
    return tmp_path / "m"


def names(paths):
    return [path.name for path in paths]


def test_weights_tokenizer_template_and_generation_config_are_read_and_other_files_are_not(folder):
    for name in ("README.md", "manifest.json", "training.log", "consolidated.safetensors"):
        (folder / name).write_text("{}")
    (folder / "original").mkdir()
    (folder / "original/params.json").write_text("{}")
    assert names(files_of(folder)) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_every_shard_counts_also_one_that_is_missing(folder):
    policy = load_policy(folder)
    parameters = parameters_of_folder(folder)
    (folder / "model.safetensors").unlink()
    policy.model.save_pretrained(folder, max_shard_size="4KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1 and weight_files(folder) == shards
    assert {"model.safetensors.index.json", *names(shards)} <= set(names(files_of(folder)))
    assert parameters_of_folder(folder) == parameters
    shards[0].unlink()
    assert weight_files(folder) == shards and parameters_of_folder(folder) is None


def test_weights_that_lie_beside_in_another_format_are_not_counted(folder):
    parameters = parameters_of_folder(folder)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert parameters_of_folder(folder) == parameters
    (folder / "model.safetensors").unlink()
    assert weight_files(folder) == [] and parameters_of_folder(folder) is None


def test_a_folder_that_is_not_there_is_a_config_that_is_missing(tmp_path):
    assert files_of(tmp_path / "none") == [tmp_path / "none/config.json"]
    assert content_of(tmp_path / "none", tmp_path / "h")


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json", "config.json"],
)
def test_content_counts_even_where_size_and_times_are_as_before(folder, tmp_path, name, monkeypatch):
    monkeypatch.setattr(hashes.remembered_sha256, "__defaults__", (tmp_path / "h", 0))
    before = content_of(folder, tmp_path / "h")
    path = folder / name
    data, state = bytearray(path.read_bytes()), path.stat()
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size and path.stat().st_mtime_ns == state.st_mtime_ns
    assert content_of(folder, tmp_path / "h") != before


def test_times_and_places_do_not_count(folder, tmp_path):
    before = content_of(folder, tmp_path / "h")
    for path in folder.iterdir():
        path.touch()
    shutil.copytree(folder, tmp_path / "copy")
    assert content_of(folder, tmp_path / "h") == before == content_of(tmp_path / "copy", tmp_path / "h")
    (folder / "added_tokens.json").write_text("{}")
    assert content_of(folder, tmp_path / "h") != before


def test_a_large_file_is_read_once_until_it_is_touched(tmp_path):
    path, store = tmp_path / "weights", tmp_path / "h"
    path.write_bytes(b"abc")
    own = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert remembered_sha256(path, store, small=0) == own
    (entry,) = store.iterdir()
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "sha256": "remembered"}))
    assert remembered_sha256(path, store, small=0) == "remembered"
    assert remembered_sha256(path, store, small=4) == own
    path.touch()
    assert remembered_sha256(path, store, small=0) == own


def test_nothing_is_remembered_where_nothing_can_be_written(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert remembered_sha256(tmp_path / "a", tmp_path / "no/h", small=0).startswith("ba7816bf")
    assert not (tmp_path / "no").exists()
    (tmp_path / "h").mkdir()
    assert remembered_sha256(tmp_path / "a", tmp_path / "h", small=0).startswith("ba7816bf")
    (entry,) = (tmp_path / "h").iterdir()
    entry.write_text("damaged")
    assert remembered_sha256(tmp_path / "a", tmp_path / "h", small=0).startswith("ba7816bf")


def test_the_record_of_a_reference_has_every_file_under_the_name_that_the_tables_look_for(folder, tmp_path):
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    del raw["references"]["tiny"]["warm_start"]
    raw["references"]["tiny"]["source"] = {"kind": "local", "path": str(folder)}
    config = load_config(raw)
    model_files = inputs(config, "prepare_reference", reference="tiny")["model_files"]

    def prepare():
        script = ROOT / "workflow_scripts/prepare_reference.py"
        return subprocess.run(
            [
                sys.executable,
                script,
                "--settings",
                settings(config, "prepare_reference", reference="tiny"),
                "--lengths",
                lengths_json(config, "tiny"),
                "--model-files",
                *model_files,
                "--out-model",
                "out/model",
                "--out-manifest",
                "out/manifest.json",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    # The tiny model has 64 positions, and the default asks for 32 + 48.
    refused = prepare()
    assert refused.returncode == 1 and "make 80, but" in refused.stderr and not (tmp_path / "out").exists()
    model_case.folder(folder, model_case.llama(261, 128), model_case.tokenizer())
    assert prepare().returncode == 0
    recorded = json.loads((tmp_path / "out/manifest.json").read_text())["inputs"]
    assert recorded == {name: content_sha256(path) for name, path in flat({"model_files": model_files}).items()}
    assert sha256(folder / "model.safetensors") in recorded.values()
