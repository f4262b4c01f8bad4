"""Sampling, evaluation and the warm start after a kill: what is finished is kept, and the end is the same to the byte.

A job is killed in a child of the test process, at a chosen call that changes a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_case
import pytest
import torch
from config_case import settings
from test_stages import configured, stage, write_problems

from astarpo.common import code, parts
from astarpo.common.columns import GENERATIONS
from astarpo.common.files import read_json, read_table, sha256, table_metadata
from astarpo.rewards import grading
from astarpo.sampling import engines, generation, transformers_engine
from astarpo.stage_one import warm_start

SIGNALS = [signal.SIGTERM, signal.SIGINT]
Work = Callable[[], None]


def in_a_child(work: Work, log: Path | None = None) -> int:
    """Run the work in a process of its own; return its exit status, or minus the signal that ended it."""
    sys.stdout.flush(), sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            if log is not None:
                stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(stream, 1), os.dup2(stream, 2)
                sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            torch.manual_seed(0)  # as in a new process
            work()
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_before(number: int, work: Work) -> Work:
    """The work, killed where it is about to put that file or folder in its place, counted from 1."""

    def until_then() -> None:
        put, count = os.replace, 0

        def replace(*paths: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            put(*paths)

        os.replace = replace
        work()

    return until_then


def put_in_place_by(work: Work, log: Path) -> list[str]:
    """Names of the files and folders that the work puts in their places, in order."""

    def watched() -> None:
        put = os.replace

        def replace(source: Any, target: Any) -> None:
            put(source, target)
            with log.open("a") as stream:
                stream.write(f"{Path(target).stem[:11]}\n")  # a part without its hash

        os.replace = replace
        work()

    assert in_a_child(watched) == 0
    return log.read_text().split()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Let every batch and every second step be saved, however quick it was."""
    monkeypatch.setattr(parts, "SECONDS_BETWEEN_PARTS", 0.0)
    monkeypatch.setattr(warm_start, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Count what the engine draws: a function that returns the seeds of each batch since the last call."""
    record = tmp_path / "drawn"

    class Counting(transformers_engine.TransformersSampler):
        def _sample_batch(self, requests: Any, sampling: Any, finish: Any) -> None:
            super()._sample_batch(requests, sampling, finish)
            with record.open("a") as stream:
                stream.write(json.dumps([request.seed for request in requests]) + "\n")

    monkeypatch.setattr(engines, "TransformersSampler", Counting)

    def since() -> list[list[int]]:
        lines = record.read_text().splitlines() if record.exists() else []
        record.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return since


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Six problems of different lengths and a model with random weights."""
    folder = tmp_path_factory.mktemp("made")
    problems = {f"{'1+' * a}{b}": a + b for a in range(3) for b in (4, 5)}
    for name in ("sums", "held-out"):
        write_problems(folder / f"{name}.jsonl", problems)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind, name in (("dataset", "sums"), ("benchmark", "held-out")):
            of = settings(configured(), f"prepare_{kind}", **{kind: name})
            out = ("--out", f"{name}.parquet", "--out-card", f"{name}.json")
            stage(f"prepare_{kind}", "--settings", of, "--source", f"{name}.jsonl", *out)
        of = settings(configured(), "prepare_reference", reference="tiny")
        out = ("--out-model", "tiny/model", "--out-manifest", "tiny/manifest.json")
        stage("prepare_reference", "--settings", of, *out)
    return folder


def sample(made: Path, folder: Path, **changes: Any) -> Work:
    """Draw a block of 24 responses, in three batches."""
    config = configured(**{"datasets__sums__sampling__max_new_tokens": 4, **changes})
    return lambda: stage(
        "sample_reference",
        *("--settings", settings(config, "sample_reference", reference="tiny", dataset="sums")),
        *("--machine", '{"sampling_batch": 10}', "--block", "s0-p0"),
        *("--reference", str(made / "tiny/manifest.json"), "--dataset", str(made / "sums.parquet")),
        *("--scratch", str(folder / "scratch/block")),
        *("--out", str(folder / "block.parquet"), "--out-manifest", str(folder / "block.json")),
    )


def answer(made: Path, folder: Path) -> Work:
    """Draw 24 answers to a benchmark, in three batches."""
    asked = {"policy": "tiny", "benchmark": "held-out", "protocol": "short"}
    return lambda: stage(
        "generate_answers",
        *("--settings", settings(configured(), "generate_answers", **asked), "--machine", '{"sampling_batch": 10}'),
        *("--policy", str(made / "tiny/manifest.json"), "--benchmark", str(made / "held-out.parquet")),
        *("--out", str(folder / "answers.parquet")),
    )


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> bytes:
    """The block of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    sample(made, folder)()
    return (folder / "block.parquet").read_bytes()


PARTS = ["unnamed", "part-000001", "unnamed", "part-000002", "unnamed", "part-000003"]
BLOCK = ["made_from", *PARTS, "block", "block"]  # the last is the manifest


def test_a_block_killed_anywhere_ends_as_if_it_had_not_been(made, whole, drawn, tmp_path):
    assert put_in_place_by(sample(made, tmp_path / "watched"), tmp_path / "log") == BLOCK
    batches = drawn()
    assert [len(batch) for batch in batches] == [10, 10, 4]
    for number in (1, 3, 4, 7, 8, 9):
        folder = tmp_path / f"{number}"
        assert in_a_child(killed_before(number, sample(made, folder))) == -signal.SIGKILL
        assert not (folder / "block.json").exists() and (folder / "scratch/block").exists()
        drawn()
        assert in_a_child(sample(made, folder), tmp_path / "log") == 0
        kept = sum(name.startswith("part") for name in BLOCK[: number - 1])
        assert drawn() == batches[kept:]
        words = f"{[0, 10, 20, 24][kept]} of 24 responses were drawn before and are kept"
        assert (words in (tmp_path / "log").read_text()) is (kept > 0)
        assert (folder / "block.parquet").read_bytes() == whole
        assert not (folder / "scratch/block").exists()


def test_a_block_may_be_killed_again_and_again(made, whole, drawn, tmp_path):
    lives = []
    for number in (5, 4, 3):
        assert in_a_child(killed_before(number, sample(made, tmp_path))) == -signal.SIGKILL
        lives.append(drawn())
    sample(made, tmp_path)()
    # The second and the third batch twice, as the kill came before their part was in its place.
    assert [[len(batch) for batch in life] for life in lives] == [[10, 10], [10, 4], [4]] and drawn() == []
    assert (tmp_path / "block.parquet").read_bytes() == whole


def part_of(folder: Path, number: int) -> Path:
    (found,) = folder.glob(f"scratch/block/*/part-00000{number}-*.parquet")
    return found


def test_a_damaged_part_is_dropped_with_a_word_and_drawn_again(made, whole, drawn, tmp_path, capsys):
    assert in_a_child(killed_before(8, sample(made, tmp_path))) == -signal.SIGKILL
    batches = drawn()
    damaged = part_of(tmp_path, 2)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 16
    damaged.write_bytes(content)
    sample(made, tmp_path)()
    said = capsys.readouterr().out
    assert f"{damaged}: damaged, so its rows are made again" in said and "14 of 24 responses were drawn" in said
    assert drawn() == [batches[1]] and (tmp_path / "block.parquet").read_bytes() == whole


def test_an_edited_setting_draws_anew_and_its_return_finds_what_was_kept(made, whole, drawn, tmp_path, capsys):
    def killed(**changes: Any) -> None:
        assert in_a_child(killed_before(6, sample(made, tmp_path, **changes))) == -signal.SIGKILL

    killed()
    first = set((tmp_path / "scratch/block").iterdir())
    killed(datasets__sums__sampling__base_seed=1)
    assert len(drawn()) == 6
    sample(made, tmp_path)()
    assert "20 of 24 responses were drawn before" in capsys.readouterr().out
    assert [len(batch) for batch in drawn()] == [4] and (tmp_path / "block.parquet").read_bytes() == whole
    assert not (tmp_path / "scratch/block").exists()
    assert len(first) == 1


def test_what_older_settings_left_does_not_pile_up(made, tmp_path, capsys):
    for seed in range(4):
        work = sample(made, tmp_path, datasets__sums__sampling__base_seed=seed)
        assert in_a_child(killed_before(4, work), tmp_path / "log") == -signal.SIGKILL
        left = list((tmp_path / "scratch/block").iterdir())
        assert len(left) == min(seed + 1, 2)
        said = (tmp_path / "log").read_text()
        assert ("was made with other settings (sampling.base_seed)" in said) is (seed > 0)
        assert ("deleted, unfinished work of older settings, inputs or code" in said) is (seed > 1)


def test_edited_code_draws_anew_and_a_comment_does_not(made, drawn, tmp_path, monkeypatch, capsys):
    scripts = Path(shutil.copytree(code.SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__")))
    choice = scripts / "astarpo/sampling/seeded_choice.py"

    def edited(text: str, by: str) -> None:
        assert text in choice.read_text()
        choice.write_text(choice.read_text().replace(text, by))
        code.forget()

    monkeypatch.setattr(code, "SCRIPTS", scripts)  # whose hashes name what is unfinished
    code.forget()
    assert in_a_child(killed_before(6, sample(made, tmp_path))) == -signal.SIGKILL
    edited("import numpy as np\n", "import numpy as np  # with a comment\n")
    assert in_a_child(killed_before(1, sample(made, tmp_path)), tmp_path / "log") == -signal.SIGKILL
    assert "20 of 24 responses were drawn before" in (tmp_path / "log").read_text()
    edited("cumsum_(-1)", "cumsum_(dim=-1)")
    drawn()
    sample(made, tmp_path)()
    said = capsys.readouterr().out
    assert "was made with other code (astarpo/sampling/seeded_choice.py)" in said and "drawn before" not in said
    assert [len(batch) for batch in drawn()] == [10, 10, 4]
    code.forget()


def test_answers_to_a_benchmark_are_kept_as_well(made, drawn, tmp_path):
    answer(made, tmp_path / "whole")()
    batches = drawn()
    assert in_a_child(killed_before(4, answer(made, tmp_path))) == -signal.SIGKILL
    drawn()
    answer(made, tmp_path)()
    assert drawn() == batches[1:] and len(batches) == 3
    assert (tmp_path / "answers.parquet").read_bytes() == (tmp_path / "whole/answers.parquet").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if "answers" in path.name] == ["answers.parquet"]


def test_the_seconds_of_a_block_are_those_of_all_its_processes(made, tmp_path, monkeypatch):
    killed = killed_before(6, sample(made, tmp_path))
    with monkeypatch.context() as patch:
        now = time.monotonic
        patch.setattr(time, "monotonic", lambda: 1e5 * now())
        assert in_a_child(killed) == -signal.SIGKILL
    kept_s = sum(table_metadata(part_of(tmp_path, number))["seconds"] for number in (1, 2))
    sample(made, tmp_path)()
    assert kept_s < read_json(tmp_path / "block.json")["seconds"] < kept_s + 100 and kept_s > 100


def signalled_after(count: int, number: signal.Signals, work: Work) -> Work:
    """The work, which gets a signal while it draws the batch after ``count`` others, and Snakemake's own soon after."""

    def until_then() -> None:
        draw, drawn = generation.Drawing.run, 0

        def run(*arguments: Any) -> Any:
            nonlocal drawn
            drawn += 1
            if drawn > count:
                os.kill(os.getpid(), number)
            return draw(*arguments)

        def write_table(*arguments: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            write(*arguments)

        write, parts.write_table = parts.write_table, write_table
        generation.Drawing.run = run
        work()

    return until_then


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_keeps_what_is_drawn_and_says_so(number, made, whole, drawn, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parts, "SECONDS_BETWEEN_PARTS", 1e9)  # so nothing was written when the signal came
    assert in_a_child(signalled_after(2, number, sample(made, tmp_path)), tmp_path / "log") == 75
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1] == "stopped: 20 finished responses are kept; run the same command to draw the others"
    assert "Traceback" not in str(lines) and not (tmp_path / "block.parquet").exists()
    drawn()
    sample(made, tmp_path)()
    assert "20 of 24 responses were drawn before" in capsys.readouterr().out
    assert [len(batch) for batch in drawn()] == [4] and (tmp_path / "block.parquet").read_bytes() == whole


def test_what_was_drawn_before_an_error_is_kept(made, tmp_path):
    def failing() -> None:
        draw, drawn = generation.Drawing.run, 0

        def run(*arguments: Any) -> Any:
            nonlocal drawn
            drawn += 1
            if drawn == 3:
                raise MemoryError("no memory")
            return draw(*arguments)

        generation.Drawing.run = run
        sample(made, tmp_path)()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SECONDS_BETWEEN_PARTS", 1e9)
        assert in_a_child(failing, tmp_path / "log") == 99
    assert read_table(part_of(tmp_path, 1), GENERATIONS).num_rows == 20


def warm(made: Path, folder: Path, **changes: Any) -> Work:
    """Warm-start a GPT-2, whose dropout takes random numbers in every step."""
    steps = {"dataset": "sums", "steps": 4, "batch_size": 2, "lr": 0.01, **changes}
    source = {"kind": "local", "path": str(made / "gpt2")}
    config = configured(references__tiny__source=source, references__tiny__warm_start=steps)
    return lambda: stage(
        "prepare_reference",
        *("--settings", settings(config, "prepare_reference", reference="tiny")),
        *("--machine", '{"checkpoint_every": 2}', "--dataset", str(made / "sums.parquet")),
        *("--scratch", str(folder / "scratch/warm-start")),
        *("--out-model", str(folder / "model"), "--out-manifest", str(folder / "manifest.json")),
    )


@pytest.fixture(scope="module")
def warmed(made, tmp_path_factory) -> str:
    """The hash of the model of an undisturbed warm start."""
    tokens = model_case.tokenizer()
    model_case.folder(made / "gpt2", model_case.gpt2(len(tokens)), tokens)
    folder = tmp_path_factory.mktemp("warmed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_start, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        assert in_a_child(warm(made, folder), folder / "log") == 0, (folder / "log").read_text()
    assert not (folder / "scratch/warm-start").exists()
    return sha256(folder / "model")


WARM_START = ["made_from", "sha256", "step-000002", "sha256", "step-000004", "model", "manifest"]


def test_a_warm_start_killed_anywhere_ends_as_if_it_had_not_been(made, warmed, tmp_path):
    assert put_in_place_by(warm(made, tmp_path / "watched"), tmp_path / "log") == WARM_START
    for number in (2, 3, 5, 7):
        folder = tmp_path / f"{number}"
        assert in_a_child(killed_before(number, warm(made, folder))) == -signal.SIGKILL
        assert not (folder / "manifest.json").exists()
        assert in_a_child(warm(made, folder), tmp_path / "log") == 0
        said = (tmp_path / "log").read_text()
        newest = max((int(one[-1]) for one in WARM_START[: number - 1] if one.startswith("step")), default=0)
        assert (f"resuming the warm start from the checkpoint of step {newest}" in said) is (newest > 0)
        assert sha256(folder / "model") == warmed
        recorded = read_json(folder / "manifest.json")
        assert recorded["outputs"]["model"] == warmed and recorded["warm_start_seconds"] > 0
        assert not (folder / "scratch/warm-start").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_a_warm_start_leaves_a_checkpoint_and_says_so(number, made, warmed, tmp_path):
    def signalled() -> None:
        step, done = warm_start._WarmStart.step, 0

        def make(*arguments: Any) -> None:
            nonlocal done
            done += 1
            if done == 3:
                os.kill(os.getpid(), number)
            step(*arguments)

        warm_start._WarmStart.step = make
        warm(made, tmp_path)()

    assert in_a_child(signalled, tmp_path / "log") == 75
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-1] == "stopped: after step 3 of 4 of the warm start; run the same command to resume"
    assert "Traceback" not in str(lines) and not (tmp_path / "manifest.json").exists()
    assert in_a_child(warm(made, tmp_path), tmp_path / "log") == 0
    assert "resuming the warm start from the checkpoint of step 3" in (tmp_path / "log").read_text()
    assert sha256(tmp_path / "model") == warmed


def test_a_warm_start_in_bfloat16_killed_ends_as_if_it_had_not_been(made, warmed, tmp_path):
    whole = tmp_path / "whole"
    assert in_a_child(warm(made, whole, precision="bfloat16")) == 0
    assert sha256(whole / "model") != warmed
    killed = tmp_path / "killed"
    assert in_a_child(killed_before(5, warm(made, killed, precision="bfloat16"))) == -signal.SIGKILL
    assert in_a_child(warm(made, killed, precision="bfloat16"), tmp_path / "log") == 0
    assert "resuming the warm start from the checkpoint of step 2" in (tmp_path / "log").read_text()
    assert sha256(killed / "model") == sha256(whole / "model")


def test_an_edited_warm_start_begins_anew(made, warmed, tmp_path):
    assert in_a_child(killed_before(4, warm(made, tmp_path))) == -signal.SIGKILL
    assert in_a_child(warm(made, tmp_path, lr=0.02), tmp_path / "log") == 0
    said = (tmp_path / "log").read_text()
    assert "was made with other settings (warm_start.lr)" in said and "resuming" not in said
    assert sha256(tmp_path / "model") != warmed and not (tmp_path / "scratch/warm-start").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_grading_is_one_line(number, made, tmp_path):
    sample(made, tmp_path)()
    graded = tmp_path / "graded.parquet"

    def signalled() -> None:
        grade = grading.Grader.grade

        def and_signal(self: Any, questions: Any) -> Any:
            os.kill(os.getpid(), number)
            return grade(self, questions)

        grading.Grader.grade = and_signal
        stage(
            "grade_samples",
            *("--settings", settings(configured(), "grade_samples", dataset="sums", reference="tiny", block="s0-p0")),
            *("--generations", str(tmp_path / "block.parquet"), "--problems", str(made / "sums.parquet")),
            *("--out", str(graded)),
        )

    assert in_a_child(signalled, tmp_path / "log") == 75
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [f"stopped: no grade of {tmp_path / 'block.parquet'} is kept; run the same command again"]
    assert not graded.exists()
