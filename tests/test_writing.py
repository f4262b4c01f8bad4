"""Full disks, folders that cannot be written to, and limits: one line that says what to do, nothing half written.

A limit on the size of files (RLIMIT_FSIZE) is a real failure of `write` that needs no rights; full and read-only disks
are small file systems in memory, where mounting is allowed.
"""

from __future__ import annotations

import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from astarpo.common import files
from astarpo.common.errors import InputError
from astarpo.common.job_logs import describe_failure
from astarpo.common.locks import acquire
from astarpo.common.writing import WAYS_OUT, check_space, failure, free_space, new_folder, size_text
from astarpo.figures import style
from astarpo.model import checkpoints
from astarpo.model.loading import _cannot_load
from astarpo.model.saving import check_can_save
from astarpo.training.trackers import JsonLines

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "workflow_scripts/launch.py"
SCHEMA = pa.schema([("text", pa.string())])
LONG = "".join(map(str, range(40_000)))  # 190 kB


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", folder], check=True)


def figure_of(folder: Path) -> None:
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().imshow(np.random.default_rng(0).random((99, 99)))
    style.save(made, folder / "f.png", folder / "f.pdf", dpi=100)


def model_of(policy: Any, folder: Path) -> None:
    with new_folder(folder / "model") as partial_folder:
        policy.save(partial_folder)


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "t.txt": lambda folder, _: files.write_text(folder / "t.txt", LONG),
    "t.json": lambda folder, _: files.write_json(folder / "t.json", [LONG]),
    "t.parquet": lambda folder, _: files.write_table(folder / "t.parquet", [{"text": LONG}], SCHEMA),
    "f.png": lambda folder, _: figure_of(folder),
    "model": lambda folder, policy: model_of(policy, folder),
    "step-000001": lambda folder, _: checkpoints.save(folder, 1, {"w": torch.ones(4)}, save_shards=shards),
}


def shards(folder: Path) -> None:
    """By a path, as DeepSpeed writes: torch then tells only that not all was written."""
    torch.save({"w": torch.rand(50_000)}, str(folder / "shard.pt"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_over_the_limit_is_one_line_and_leaves_what_was_there(name, tmp_path, tiny_policy):
    write = partial(WRITERS[name], tmp_path, tiny_policy)
    before = tmp_path / name / "old" if "." not in name else tmp_path / name
    before.parent.mkdir(exist_ok=True)
    before.write_text("old")
    with longest_file(8000), pytest.raises(InputError) as caught:
        write()
    assert re.fullmatch(
        rf"{tmp_path}/{name}: cannot be written: [^\n]*; (raise the limit on the size of files|free some space)[^\n]*, "
        r"then run the same command again; finished results are kept",
        str(caught.value),
    )
    assert before.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write()
    assert name == "step-000001" or not before.exists() or before.read_bytes() != b"old"


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_its_space_is_free_again(name, small_disk, tiny_policy):
    (small_disk / "others").write_bytes(b"x" * 48_000)
    free = free_space(small_disk)
    with pytest.raises(InputError, match=f"^{small_disk}/[^\n]*free some space on this disk, [^\n]*$"):
        WRITERS[name](small_disk, tiny_policy)
    assert [path.name for path in small_disk.iterdir()] == ["others"] and free_space(small_disk) == free


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_disk_is_one_line(name, small_disk, tiny_policy):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(InputError, match=rf"^{small_disk}/{name}[^\n]*Read-only file system; make the disk [^\n]*$"):
        WRITERS[name](small_disk, tiny_policy)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_the_place_of_the_folder_is_one_line(name, tmp_path, tiny_policy):
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(InputError, match=r"results/.*: cannot be written: .*; a file is where a folder should be"):
        WRITERS[name](tmp_path / "results", tiny_policy)
    assert (tmp_path / "results").read_text() == "not a folder"


def test_an_error_of_another_kind_keeps_its_traceback():
    assert failure(ValueError("wrong")) is None and failure(FileNotFoundError(2, "No such file", "x")) is None
    assert failure(RuntimeError("os error 28")) is None
    assert "free some space" in failure(Exception("No space left on device (os error 28)"))


def test_the_space_of_a_checkpoint_is_checked_before_it_is_written(small_disk):
    """A state of 80 kB does not fit on the disk, but two of 10 kB do, and stay."""
    for step in (1, 2):
        checkpoints.save(small_disk, step, {"w": torch.ones(2000), "nested": [{"m": torch.ones(500)}]})
    for wanted in ({"w": torch.ones(20_000)}, {"optimizer": {"state": {0: {"m": torch.ones(2, 10_000)}}}}):
        written = []
        with pytest.raises(
            InputError, match=r": the checkpoint of step 3 takes 80 kB, but only \S+ kB are free on this"
        ):
            checkpoints.save(small_disk, 3, wanted, save_shards=written.append)
        assert not written
    assert checkpoints.load_newest(small_disk)[0] == 2


def test_the_space_of_shards_is_that_of_the_checkpoint_before(small_disk):
    for step in (1, 2):
        save_shards = partial(lambda folder: (folder / "shard").write_bytes(b"x" * 20_000))
        checkpoints.save(small_disk, step, {}, save_shards=save_shards)
    with pytest.raises(InputError, match=r"the checkpoint of step 3 takes 2\d\.\d kB, but only"):
        checkpoints.save(small_disk, 3, {}, save_shards=save_shards)
    assert checkpoints.load_newest(small_disk)[0] == 2


def test_three_checkpoints_coexist_while_one_is_written(tmp_path):
    """As docs/recipes.md counts them."""
    seen = []
    for step in range(1, 5):
        save_shards = partial(lambda folder: seen.append(sorted(path.name for path in tmp_path.iterdir())))
        checkpoints.save(tmp_path, step, {}, save_shards=save_shards)
    assert [len(names) for names in seen] == [1, 2, 3, 3]
    assert seen[-1] == ["step-000002", "step-000003", "step-000004.partial"]
    assert "three checkpoints coexist" in " ".join((ROOT / "docs/recipes.md").read_text().split())


def test_space_that_is_there_is_enough(tmp_path):
    check_space(tmp_path / "not/yet/there", 1, "nothing")
    with pytest.raises(InputError, match=r"there: the model takes 1\.15e\+06 TB, but only .* are free"):
        check_space(tmp_path / "not/yet/there", 1 << 60, "the model")
    assert [size_text(size) for size in (999, 18_500_000_000)] == ["999 bytes", "18.5 GB"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_outputs_have_the_permissions_that_the_umask_gives(umask, tmp_path, tiny_policy):
    """safetensors writes files that only their owner can read."""
    before = os.umask(umask)
    try:
        for write in WRITERS.values():
            write(tmp_path, tiny_policy)
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"model.safetensors", "t.parquet", "t.json", "f.pdf", "state.pt"} <= {path.name for path in made}
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in made} == {
        path.name: oct(0o666 & ~umask) for path in made
    }


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "locks").write_text("")
    with pytest.raises(InputError, match="locks/a.lock: cannot be written: .*move it away"):
        acquire(tmp_path / "locks/a.lock", "the job")


def test_a_full_disk_is_not_blamed_on_the_model(tiny_policy):
    with longest_file(500), pytest.raises(InputError, match=r"cannot be written: File too large; raise the limit"):
        check_can_save(tiny_policy.model, tiny_policy.tokenizer)
    full = OSError(28, "No space left on device")
    assert _cannot_load("model", "me/own", full) == (
        f"the model of 'me/own' cannot be loaded: No space left on device; {WAYS_OUT[28]}"
    )


def test_metrics_that_cannot_be_written_are_one_line(tmp_path):
    lines = JsonLines(tmp_path, [])
    with longest_file(20), pytest.raises(InputError, match="metrics.jsonl: cannot be written: File too large"):
        lines.log(1, {f"metric {number}": 0.5 for number in range(9)})


def launch(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "work.py").write_text(code)
    command = [sys.executable, str(LAUNCH), "--log", "results/logs/a.log", "work.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_launcher_that_cannot_write_its_log_says_so(tmp_path):
    (tmp_path / "results").write_text("")
    done = launch(tmp_path, "")
    assert done.returncode == 1
    assert re.fullmatch(r"error: results/logs/a\.log: cannot be written: Not a directory; .*\n", done.stderr)


SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "workflow_scripts")!r})
from astarpo.common import cli
def main():
    with open("/dev/full", "w") as stream:
        stream.write("x")
cli.run(main)
"""


def test_a_failure_that_nobody_expected_is_one_line_as_well(tmp_path):
    done = launch(tmp_path, SCRIPT)
    assert done.returncode == 1
    log = (tmp_path / "results/logs/a.log").read_text()
    assert re.fullmatch(r"error: [^\n]*: No space left on device; free some space on this disk[^\n]*\n", log)


def test_a_job_without_room_for_its_log_is_explained(small_disk):
    (small_disk / "results/logs").mkdir(parents=True)
    (small_disk / "work.py").write_text(SCRIPT)
    with suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 512)
    command = [sys.executable, str(LAUNCH), "--log", "results/logs/a.log", "work.py"]
    done = subprocess.run(command, cwd=small_disk, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: results/logs/a.log: cannot be written: No space left on device; free some space"
    )
    said = describe_failure("train_policy a 0", [str(small_disk / "results/logs/a.log")])
    assert said.startswith(f"train_policy a 0 failed: the disk of {small_disk}/results/logs is full; free some space")


def test_a_job_that_fills_the_disk_says_so_in_its_log(small_disk):
    """An empty log has no block of its own yet; its space is reserved."""
    fill = """
def main():
    with open("fill", "wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 512)
"""
    done = launch(small_disk, re.sub(r"(?s)\ndef main.*(?=cli.run)", fill, SCRIPT))
    assert done.returncode == 1 and (small_disk / "fill").stat().st_size > 16_000
    log = (small_disk / "results/logs/a.log").read_text()
    assert re.fullmatch(r"error: [^\n]*No space left on device; free some space on this disk[^\n]*\n", log)
