"""Jobs that download are tried again; those whose input lies on the disk fail once, and so does a warm start."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import warm_snakemake
import yaml

from astarpo.common.errors import InputError, Interrupted
from astarpo.common.failures import recall, remembered
from astarpo.config import load_config
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "hub": ({"kind": "hub", "id": "nobody/nothing", "name": "main", "split": "train"}, 2),
    "local": ({"kind": "local", "path": "no-such-file.jsonl"}, 0),
}
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def run(folder: Path, config: dict[str, Any], target: str) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return warm_snakemake.snakemake(
        folder,
        *("--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "1"),
        target,
        HF_HUB_OFFLINE="1",
        HF_HOME=str(folder / "hub"),
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_what_cannot_be_read_is_tried_again_only_from_a_hub(kind: str, tmp_path: Path) -> None:
    source, retries = SOURCES[kind]
    config = copy.deepcopy(DEFAULT)
    config["datasets"]["sums"]["source"] = source
    if kind == "local":
        (tmp_path / "no-such-file.jsonl").write_text("not JSON\n")
    else:  # what is in the hub's cache is not asked for before the first job, so that it is the job that fails
        (tmp_path / "hub/hub/datasets--nobody--nothing/snapshots").mkdir(parents=True)
    done = run(tmp_path, config, "results/datasets/sums.parquet")
    assert done.returncode == 1
    assert done.stdout.count("Trying to restart job") == retries, done.stdout


def test_a_warm_start_that_fails_is_not_repeated(tmp_path: Path) -> None:
    """Snakemake tries all references again as one is of a hub. The other one's warm start fails: 0.6 of 80 are left."""
    config = copy.deepcopy(DEFAULT)
    tiny, data = config["references"]["tiny"], config["datasets"]["sums-warm-start"]
    config["references"]["elsewhere"] = {**tiny, "source": {"kind": "hub", "id": "nobody/nothing"}}
    data["source"] = {**data["source"], "count": 80}
    done = run(tmp_path, config, "results/references/tiny/manifest.json")
    assert done.stdout.count("Trying to restart job") == 2, done.stdout
    first, *others = (tmp_path / "results/logs/prepare_reference/tiny.log").read_text().splitlines()
    assert first == "attempt 3: not made, as it would fail as the one before"
    assert len(others) == 1 and others[0].startswith("error: the warm start needs batches of 64")


def test_a_download_that_fails_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    entry = load_config(DEFAULT).references["tiny"]
    settings = ReferenceSettings(
        source={"kind": "hub", "id": "nobody/nothing"}, warm_start=entry.warm_start, max_prompt_tokens=32
    )
    with pytest.raises(InputError, match="the tokenizer of 'nobody/nothing' cannot be loaded"):
        prepare_reference(settings, "none.parquet", "cpu", folder=tmp_path)
    recall(tmp_path, 2)


def test_an_unexpected_failure_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), remembered(tmp_path):
        _ = 1 / 0
    for _ in range(2):
        with pytest.raises(InputError, match="^ZeroDivisionError: division by zero$"):
            recall(tmp_path, 2)
    said = capsys.readouterr().out
    assert said.startswith("attempt 2: not made") and "_ = 1 / 0" in said and "test_retries.py" in said


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), remembered(tmp_path):
        raise Interrupted("after step 1")
    recall(tmp_path, 2)


def test_a_first_attempt_forgets(tmp_path: Path) -> None:
    with pytest.raises(InputError), remembered(tmp_path):
        raise InputError("no")
    recall(tmp_path, 1)
    recall(tmp_path, 2)
