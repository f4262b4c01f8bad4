"""`make install-gpu`: the driver that it needs, and that its pins can be installed together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "envs"))

import driver  # noqa: E402

LOCK = ROOT / "envs/locks/gpu.txt"


@pytest.mark.parametrize(
    ("found", "cuda", "said"),
    [
        ("580.65.06", "13.0.3.0", None),
        ("580.126.9", "13.0.3.0", None),
        ("580.65.05", "13.0.3.0", "the NVIDIA driver 580.65.05 is too old: torch is built for CUDA 13.0, which needs "),
        ("570.195.03", "12.9.1", None),
        ("535.183", "13.0.3.0", "driver 580.65.06 or newer; ask your administrator"),
        (None, "13.0.3.0", "nvidia-smi finds no NVIDIA driver here; torch is built for CUDA 13.0"),
    ],
)
def test_a_driver_that_cannot_run_torchs_cuda_is_refused(found: str | None, cuda: str, said: str | None) -> None:
    problem = driver.problem(found, cuda)
    assert problem is None if said is None else said in str(problem)


def nvidia_smi(folder: Path, body: str) -> str:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_the_driver_is_asked_for_its_version(tmp_path: Path) -> None:
    two_cards = (
        "test \"$*\" = '--query-gpu=driver_version --format=csv,noheader' && printf '580.159.04\\n580.159.04\\n'"
    )
    assert driver.driver_version(nvidia_smi(tmp_path, two_cards)) == "580.159.04"
    broken = "echo NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver; exit 9"
    assert driver.driver_version(nvidia_smi(tmp_path, broken)) is None
    assert driver.driver_version(nvidia_smi(tmp_path, "echo No devices were found")) is None
    assert driver.driver_version(str(tmp_path / "none")) is None


def test_nothing_is_installed_for_a_driver_that_is_too_old(tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "echo 470.57.02")
    path = f"{tmp_path}:{os.environ['PATH']}"
    asked = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), "install-gpu", f"PYTHON={sys.executable}"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode != 0 and "the NVIDIA driver 470.57.02 is too old" in asked.stderr
    assert "; to install without this check, " in asked.stderr and "make install-gpu DRIVER=any" in asked.stderr
    assert not (ROOT / ".venv-gpu").exists()


def test_the_lock_is_for_a_cuda_whose_driver_is_known() -> None:
    cuda = driver.cuda_version(LOCK.read_text())
    assert cuda.partition(".")[0] in driver.OLDEST_DRIVER
    with pytest.raises(ValueError, match="no cuda-toolkit is locked"):
        driver.cuda_version("torch==2.13.0")


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_what_it_installs_can_be_installed_together(python: str, tmp_path: Path) -> None:
    """Resolved anew from the pins. From Python 3.13 on, the SLURM plugin is among it."""
    uv = Path(sys.executable).with_name("uv")
    options = ["--quiet", "--no-header", "--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    pins = ROOT / "envs/pins/gpu.txt"
    done = subprocess.run(
        [uv, "pip", "compile", *options, pins, "-o", tmp_path / "out.txt"], capture_output=True, text=True, check=False
    )
    if done.returncode and re.search(
        "Failed to fetch|not found in the package registry|error sending request", done.stderr
    ):
        pytest.skip(f"no package index is reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    resolved = dict(re.findall(r"^([\w.-]+)==(\S+)", (tmp_path / "out.txt").read_text(), re.MULTILINE))
    assert resolved["vllm"] == "0.32.0" and {"torch", "deepspeed", "peft", "snakemake", "nvidia-nccl-cu13"} <= set(
        resolved
    )
    assert ("snakemake-executor-plugin-slurm" in resolved) == (python == "3.13")
