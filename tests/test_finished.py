"""A finished training keeps links to its outputs in place of its checkpoints, and is not made twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_export import data, train  # noqa: F401 (a fixture)

from astarpo.common.files import sha256
from astarpo.training.finished import restore
from astarpo.training.loop import Trainer
from astarpo.training.settings import Keep

KEPT = {"steps": 2, "keep": Keep(steps=(1,))}


def files_of(folder: Path) -> dict[str, str]:
    """Hashes of all outputs, by their path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "scratch" not in path.parts)
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def delete_outputs(folder: Path) -> None:
    """As Snakemake deletes those of a job that it does not know to have finished."""
    for path in folder.iterdir():
        if path.name != "scratch":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def finished(data, monkeypatch):  # noqa: F811
    """A finished training that kept a step, and a function that starts it again."""

    def start() -> Path:
        return train(data, "run", monkeypatch, more={"out-steps": str(data / "run/steps")}, **KEPT)

    return start(), start


def never(*_: Any) -> None:
    raise AssertionError("it is trained again")


def test_checkpoints_give_way_to_links(finished):
    folder, _ = finished
    (kept,) = (folder / "scratch").glob("*/finished")
    assert not [*kept.parent.rglob("step-*.pt"), *kept.parent.rglob("state.pt")]
    assert (kept.parent / "world-1/metrics.jsonl").is_file()
    for name in ("model/model.safetensors", "steps/1/model/model.safetensors"):
        assert os.path.samefile(folder / name, kept / name)


def test_outputs_that_were_deleted_are_put_in_place_again(finished, monkeypatch, capsys):
    folder, start = finished
    before = files_of(folder)
    old = (folder / "manifest.json").stat().st_mtime
    delete_outputs(folder)
    assert not files_of(folder)
    monkeypatch.setattr(Trainer, "run", never)
    start()
    assert files_of(folder) == before and "already finished" in capsys.readouterr().out
    assert (folder / "manifest.json").stat().st_mtime > old  # or Snakemake would take it for older than its inputs
    assert (folder / "model").stat().st_mtime > old


@pytest.mark.parametrize("name", ["model/model.safetensors", "steps/1/model/config.json", "rollouts", "manifest"])
def test_what_has_changed_is_trained_again(finished, capsys, name):
    folder, start = finished
    before = files_of(folder)
    (kept,) = (folder / "scratch").glob("*/finished")
    changed = kept / name
    content = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(b"{" + content[1:-1] + b"!")
    delete_outputs(folder)
    start()
    assert "starting over:" in (said := capsys.readouterr().out) and "has changed since" in said
    after = files_of(folder)
    assert {key: after[key] for key in after if "model" in key} == {
        key: before[key] for key in before if "model" in key
    }


def test_an_output_that_is_missing_counts_as_changed(finished, capsys):
    folder, _ = finished
    (kept,) = (folder / "scratch").glob("*/finished")
    (kept / "timings").unlink()
    assert not restore(kept.parent, {"timings": "t", "manifest": "m"})
    assert f"{kept}/timings has changed" in capsys.readouterr().out and not kept.exists()


def test_without_hard_links_the_checkpoints_stay(data, monkeypatch):  # noqa: F811
    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    folder = train(data, "run", monkeypatch, steps=2)
    assert [path.name for path in sorted((folder / "scratch").glob("*/world-1/step-*"))] == [
        "step-000001",
        "step-000002",
    ]
    assert not list((folder / "scratch").glob("*/finished*"))
    assert (folder / "manifest.json").is_file()
