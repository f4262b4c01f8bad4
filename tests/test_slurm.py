"""The reduced demo through a real SLURM of one node: `make test-slurm` installs it and runs this."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "tests/slurm/cluster.sh"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
LOG = "results/logs/train_policy/a-star-po/seed-{}.log"

pytestmark = pytest.mark.skipif(
    os.environ.get("ASTARPO_TEST_SLURM") not in ("1", "if-possible"),
    reason="starts the daemons of a SLURM cluster as root: make test-slurm",
)


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(["bash", str(CLUSTER), "start", str(folder)], capture_output=True, text=True, check=False)
    if started.returncode and os.environ["ASTARPO_TEST_SLURM"] == "if-possible":
        pytest.skip(f"no SLURM can be started here: {started.stderr.strip()[-300:]}")
    assert started.returncode == 0, started.stdout + started.stderr
    yield
    subprocess.run(["scancel", "--user=root", "--quiet"], check=False)
    subprocess.run(["bash", str(CLUSTER), "stop", str(folder)], check=True)


def command(*options: str) -> list[str]:
    profile = ["--workflow-profile", "profiles/slurm-ci"]
    return [sys.executable, "-m", "snakemake", *options, *profile, "--configfile", "slurm.yaml"]


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def configure(folder: Path, **run: object) -> None:
    """Write the configuration: the reduced demo with one run, one benchmark and one figure; ``run`` changes the run."""
    config: dict[str, Any] = {}
    for name in ("config/config.yaml", "tests/configs/smoke.yaml"):
        update_config(config, yaml.safe_load((ROOT / name).read_text()))
    for section, kept in (("runs", "a-star-po"), ("benchmarks", "held-out"), ("figures", "accuracy")):
        config[section] = {kept: config[section][kept]}
    config["machine"]["grading_workers"] = 1  # two trainings of two CPUs fit on the node
    if run:
        update_config(config, {"runs": {"a-star-po": run}, "machine": {"checkpoint_every": 5}})
    (folder / "slurm.yaml").write_text(yaml.safe_dump(config))


def wait(condition: Callable[[], object], what: str) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.5)
    raise AssertionError(f"not within five minutes: {what}")


def checkpoints(folder: Path, seed: int) -> list[Path]:
    scratch = folder / f"results/checkpoints/a-star-po/seed-{seed}"
    return [path for path in scratch.glob("*/world-1/step-*") if path.suffix != ".partial"]


@pytest.fixture(scope="module")
def project(_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow in which the trainings of the reduced demo ran through SLURM."""
    folder = tmp_path_factory.mktemp("project") / "project"
    ignore = shutil.ignore_patterns(".git", ".venv*", ".snakemake", "results", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=ignore)
    configure(folder)
    done = snakemake(folder, "train")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_trainings_had_their_gpus(project):
    for seed in (0, 1):
        log = (project / LOG.format(seed)).read_text()
        assert re.match(r"GPUs: [01]\n", log), log


def running() -> list[str]:
    listed = subprocess.run(["squeue", "--noheader", "--states=RUNNING", "--format=%i"], capture_output=True, text=True)
    return listed.stdout.split()


def live_steps(folder: Path, seed: int) -> list[int]:
    """The steps that a running training has recorded so far, whichever job it is in."""
    (path,) = folder.glob(f"results/checkpoints/a-star-po/seed-{seed}/*/world-1/metrics.jsonl")
    whole = path.read_text().rpartition("\n")[0]  # the last line may be half written
    return [json.loads(line)["step"] for line in whole.splitlines()]


def stop(main: subprocess.Popen[bytes], folder: Path) -> None:
    main.kill()
    main.wait()
    subprocess.run(["scancel", *running()], check=True)
    wait(lambda: not running(), "the end of the job")
    assert snakemake(folder, "--unlock").returncode == 0


def test_a_training_that_met_its_walltime_is_sent_again_and_goes_on(project):
    """More steps than any machine makes in the minute that it is granted; stopped once it went on."""
    configure(project, steps=1000000, seeds=[2], validate_every=1000000)
    limit = [
        "--set-resources",
        "train_policy:runtime=1",
        "train_policy:slurm_partition=gpu",
        "train_policy:gpu=1",
        "train_policy:mem_mb=1500",
    ]
    said = project / "said.txt"
    with said.open("w") as stream:
        main = subprocess.Popen(
            command("train", "--retries", "9", *limit),
            cwd=project,
            env=ENVIRONMENT,
            stdout=stream,
            stderr=stream,
        )
    log = project / LOG.format(2)
    mark = re.compile(r"resuming from the checkpoint of step (\d+)")
    wait(lambda: log.exists() and mark.search(log.read_text()), "a second job that goes on")
    (found,) = mark.findall(log.read_text())
    wait(lambda: live_steps(project, 2)[-1] > int(found) + 5, "steps of the second job")
    steps = live_steps(project, 2)
    stop(main, project)
    assert "Trying to restart" in said.read_text()
    assert int(found) > 0 and steps == list(range(len(steps)))


def test_after_a_killed_main_process_a_restart_starts_no_second_writer(project):
    configure(project, steps=100000, seeds=[3], validate_every=100000)
    main = subprocess.Popen(
        command("train"),
        cwd=project,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait(lambda: checkpoints(project, 3), "a checkpoint")
    main.kill()
    main.wait()
    first = running()
    assert len(first) == 1
    assert snakemake(project, "--unlock").returncode == 0
    done = snakemake(project, "train", "--retries", "0")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "is already running" in said, said
    assert f"SLURM job {first[0]}" in said and running() == first
    newest = max(checkpoints(project, 3))
    wait(lambda: max(checkpoints(project, 3)) > newest, "another checkpoint of the first job")
    subprocess.run(["scancel", *first], check=True)


def test_the_rest_of_the_demo(project):
    configure(project)
    done = snakemake(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a-star-po" in (project / "results/tables/summary.txt").read_text()
    # All answers wait in the queue as one job to be graded; tables and figures do not wait in it.
    sent = re.findall(r"submitted with SLURM jobid \d+ \(log: \S*/(?:rule|group)_(\w+)/", done.stdout + done.stderr)
    assert sent.count("answers_grade_answers") == 1 and "generate_answers" in sent
    assert not [name for name in sent if name.startswith(("plot", "show", "summarize", "report", "grade"))]
    again = snakemake(project)
    assert "Nothing to be done" in again.stdout + again.stderr
