"""The output of `--logger stages`: one line per stage, the progress of jobs, and why a job failed."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from astarpo.common.job_logs import describe_failure, failure_reason, job_progress
from astarpo.common.progress import TERMINAL_FD, Progress
from snakemake_logger_plugin_stages.handler import TARGETS
from snakemake_logger_plugin_stages.stages import Stages, duration

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT / "workflow_scripts"),
    "COLUMNS": "100",
}
# Three jobs of one stage, one of another. Whether a job's own bar would be drawn is in its output.
SNAKEFILE = f"""
rule all:
    input: "sum.txt"
rule part:
    output: "part-{{n}}.txt"
    log: "part-{{n}}.log"
    shell: "echo bars=${{{{{TERMINAL_FD}-drawn}}}} > {{output}}; sleep 1"
rule add:
    input: expand("part-{{n}}.txt", n=range(3))
    output: "sum.txt"
    log: "sum.log"
    shell: "BODY"
"""
FAILS = "printf 'Traceback\\\\nerror: row 3: no answer; add one\\\\n' > {log}; exit 1"


def project(folder: Path, body: str) -> list[str]:
    (folder / "Snakefile").write_text(SNAKEFILE.replace("BODY", body))
    return [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "stages"]


def test_a_log_gets_a_line_a_stage(tmp_path):
    command = project(tmp_path, "cat {input} > {output}")
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned, part, add = done.stderr.splitlines()
    assert planned == "4 jobs in 2 stages"
    assert re.fullmatch(r"part +3 jobs +\d:\d\d  \[3 of 4 jobs\]", part)
    assert re.fullmatch(r"add +1 job +\d:\d\d  \[4 of 4 jobs\]", add)
    assert set((tmp_path / "sum.txt").read_text().split()) == {"bars=drawn"}


def on_a_terminal(command: list[str], folder: Path) -> str:
    """What a run writes to a terminal."""
    main, other = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=other, stderr=other)
    os.close(other)
    written = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # Linux says so that the other end is closed
            break
        if not chunk:
            break
        written += chunk
    process.wait()
    os.close(main)
    return written.decode()


def test_a_terminal_shows_running_jobs_and_keeps_the_lines(tmp_path):
    shown = on_a_terminal(project(tmp_path, "cat {input} > {output}"), tmp_path)
    assert re.search(r"part \d: running for \d:\d\d", shown)
    assert re.search(r"of 4 jobs, \d:\d\d", shown)
    assert re.search(r"add +1 job +\d:\d\d  \[4 of 4 jobs\]", shown)
    # Jobs must not draw bars into the display.
    assert set((tmp_path / "sum.txt").read_text().split()) == {"bars="}


@pytest.mark.parametrize("options", [[], ["--quiet", "all"]], ids=["plain", "quiet-all"])
def test_a_failed_job_is_one_line_with_its_reason(options, tmp_path):
    command = [*project(tmp_path, FAILS), *options]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "add failed: row 3: no answer; add one (log: sum.log)" in lines
    assert len(lines) <= 5


def test_a_dry_run_reads_as_it_does_without_the_plugin(tmp_path):
    command = [*project(tmp_path, "cat {input} > {output}"), "-n", "--quiet", "host"]
    with_plugin, without = (
        subprocess.run(some, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True).stdout
        for some in (command, [part for part in command if part not in ("--logger", "stages")])
    )
    # Without the times; jobs of one stage come in any order.
    undated = [sorted(re.findall(r"[\w.]+", re.sub(r"(?m)^\[.*\]\n", "", text))) for text in (with_plugin, without)]
    assert undated[0] == undated[1] and "total" in undated[0]


@pytest.mark.parametrize("quiet", [[], ["--quiet", "all"]], ids=["plain", "quiet-all"])
def test_the_workflow_says_why_a_job_failed_without_the_plugin_as_well(quiet, tmp_path):
    for name in ("rules", "workflow_scripts", "config", "envs", "profiles", "report", "Snakefile"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "broken.jsonl").write_text('{"problem": "1+1"\n')
    (tmp_path / "mine.yaml").write_text(
        "datasets: {mine: {source: {kind: local, path: broken.jsonl}, verifier: integer}}\n"
    )
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "--configfile",
        "config/config.yaml",
        "mine.yaml",
        *quiet,
    ]
    command += ["--", "results/datasets/mine.parquet"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    reason = [line for line in done.stderr.splitlines() if line.startswith("prepare_dataset mine failed: broken.jsonl")]
    assert done.returncode == 1 and len(reason) == 1, done.stderr
    assert reason[0].endswith("(log: results/logs/prepare_dataset/mine.log)")


def test_the_targets_are_those_of_the_snakefile():
    rules = re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(), re.MULTILINE)
    assert set(rules) == TARGETS


def test_progress_is_read_back_as_it_was_printed(tmp_path):
    log = tmp_path / "job.log"
    with log.open("w") as lines, Progress("train seed 0", 200, "steps", done=40, lines=lines) as progress:
        progress.advance(reward=0.53125, kl=1.0)
        progress.advance(159, reward=0.625, kl=2.5)
    found = job_progress(log)
    assert found is not None
    assert (found.done, found.total, found.unit, found.seconds_left) == (200, 200, "steps", 0)
    assert found.numbers == {"reward": "0.625", "kl": "2.5"}
    assert job_progress(tmp_path / "none.log") is None
    log.write_text("training on 812 prompts; left out: {'too_long': 0}\n")
    assert job_progress(log) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("step 1\nerror: a.jsonl: no rows\n", "a.jsonl: no rows"),
        ("error: first\nerror: second\nKeyError: 'x'\n", "second"),
        ("stopped: walltime; run it again\n", "walltime; run it again"),
        ("Traceback\n  raise X\ntorch.OutOfMemoryError: no memory\nclosing\n", "torch.OutOfMemoryError: no memory"),
        ("step 1\n  Killed \n\n", "Killed"),
        ("\n", "the log is empty; the process may have been killed, for example for lack of memory"),
    ],
)
def test_the_reason_of_a_failure(text, reason, tmp_path):
    log = tmp_path / "job.log"
    log.write_text(text)
    assert failure_reason(log) == reason
    assert describe_failure("a b", [str(log)]) == f"a b failed: {reason} (log: {log})"


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("error: long ago\n" + "x" * 200_000 + "\nthe end\n")
    assert failure_reason(log) == "the end"


def test_jobs_and_what_their_logs_say(tmp_path):
    now = [1000.0]
    stages = Stages(now=lambda: now[0])
    stages.expect({"train_policy": 2})
    log = tmp_path / "seed-0.log"
    log.write_text("train seed 0: 199/200 steps, 2 a second, 1 s left  reward 0.9\n")
    os.utime(log, (900, 900))  # of an earlier attempt
    stages.start(7, "train_policy", ["mine", "0"], [str(log)])
    now[0] = 1065.0
    assert stages.running() == ["train_policy mine 0: running for 1:05"]
    log.write_text("train seed 0: 30/200 steps, 0.5 a second, 340 s left  reward 0.45  kl 0.8\n")
    os.utime(log, (1060, 1060))
    assert stages.running() == ["train_policy mine 0: 30 of 200 steps, reward 0.45, kl 0.8, 5:35 left"]
    assert stages.finish(7) is None and stages.running() == []
    stages.start(8, "train_policy", ["mine", "1"], [])
    now[0] = 4665.0
    assert stages.finish(8) == f"{'train_policy':<24}     2 jobs   1:01:05  [2 of 2 jobs]"
    assert stages.finish(99) is None


def test_many_jobs_are_not_all_listed():
    stages = Stages(now=lambda: 0.0)
    for number in range(11):
        stages.start(number, "grade_answers", [str(number)], [])
    assert len(stages.running()) == 9 and stages.running()[-1] == "... and 3 more jobs"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3725, "1:02:05")])
def test_durations(seconds, text):
    assert duration(seconds) == text
