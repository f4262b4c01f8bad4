"""Every profile that is shipped loads and dry-runs, and its values reach the jobs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))


def dry_run(profile: str, *options: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "-n",
            "--cores",
            "2",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--workflow-profile",
            str(ROOT / "profiles" / profile),
            "--forceall",
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_dry_runs(profile):
    assert "Job stats" in dry_run(profile)


def jobs_of(printed: str) -> list[str]:
    return re.split(r"\n\s*(?=(?:local)?rule \w+:)", printed)


def test_the_slurm_profile_gives_training_its_partition_and_time():
    jobs = jobs_of(dry_run("slurm"))
    training = [job for job in jobs if job.startswith("rule train_policy:")]
    grading = [job for job in jobs if job.startswith("rule grade_samples:")]
    assert training and all("slurm_partition=gpu" in j and "runtime=1440" in j for j in training)
    assert grading and all("slurm_partition=cpu" in job for job in grading)


def test_a_training_asks_for_the_cpus_of_its_processes_and_of_their_graders():
    """Eight processes with one computing thread each, and two grading workers each."""
    recipe = str(ROOT / "config/recipes/math_qwen2.5_7b.yaml")
    jobs = jobs_of(dry_run("slurm", "--configfile", recipe))
    (training,) = (job for job in jobs if job.startswith("rule train_policy:"))
    assert "gpu=8, cpus_per_task=24" in training
