"""Check that this machine's NVIDIA driver runs the CUDA that the locked torch is built for: python envs/driver.py

Only the standard library is used, as this runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent / "locks" / "gpu.txt"
# The oldest Linux driver of each CUDA, from the release notes: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes
OLDEST_DRIVER = {"12": "525.60.13", "13": "580.65.06"}
WITHOUT = "to install without this check, as on a login node without a GPU: make install-gpu DRIVER=any"


def cuda_version(lock: str) -> str:
    """Read the version of CUDA from the text of a lock, such as ``13.0.3.0``.

    Raises:
        ValueError: the lock has none.
    """
    found = re.search(r"^cuda-toolkit==([\d.]+)", lock, re.MULTILINE)
    if found is None:
        raise ValueError(f"{LOCK}: no cuda-toolkit is locked")
    return found[1]


def driver_version(command: str = "nvidia-smi") -> str | None:
    """Ask the driver for its version, such as ``580.65.06``.

    Returns:
        The version; None if there is no driver or it does not answer.
    """
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    first = answer.stdout.strip().partition("\n")[0].strip()
    return first if answer.returncode == 0 and re.fullmatch(r"[\d.]+", first) else None


def problem(driver: str | None, cuda: str) -> str | None:
    """Say in one line why a driver cannot run a CUDA.

    Args:
        driver: its version; None without one.
        cuda: version that torch is built for.

    Returns:
        The line; None if it can.
    """
    oldest = OLDEST_DRIVER[cuda.partition(".")[0]]
    needed = f"torch is built for CUDA {'.'.join(cuda.split('.')[:2])}, which needs driver {oldest} or newer"
    if driver is None:
        return f"nvidia-smi finds no NVIDIA driver here; {needed}"
    if _numbers(driver) < _numbers(oldest):
        return f"the NVIDIA driver {driver} is too old: {needed}; ask your administrator for an update"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    found = problem(driver_version(), cuda_version(LOCK.read_text(encoding="utf-8")))
    if found is not None:
        sys.exit(f"{found}; {WITHOUT}")
