"""The tests on a simulated second device, in a process of their own.

With a second device, torch's autograd starts threads for it, after which no test of this process could fork and train.
"""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", ["second_device_itself", "second_device_steps"])
def test_on_a_second_device(name: str) -> None:
    """`pytest tests/second_device_steps.py` runs them by themselves."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS / f"{name}.py")]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
