"""Every profile that is shipped loads and dry-runs, and its values reach the jobs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/profile.yaml"))


def dry_run(profile: str) -> str:
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


def test_the_slurm_profile_gives_training_its_partition_and_time():
    printed = dry_run("slurm")
    jobs = re.split(r"\n(?=(?:local)?rule \w+:)", printed)
    training = [job for job in jobs if job.startswith("rule train_policy:")]
    grading = [job for job in jobs if job.startswith("rule grade_samples:")]
    assert training and all("slurm_partition=gpu" in j and "runtime=1440" in j for j in training)
    assert grading and all("slurm_partition=cpu" in job for job in grading)
