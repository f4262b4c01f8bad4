"""Snakemake is killed while a training lives, unlocked, and started again: the real thing, in real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.cases import TRAINING, Case, Outcome
from faults.jobs import CONFIG
from faults.lab import Lab
from faults.processes import HUNG_S

EXPECTED = "the second training is refused, the first ends; the third start finds its results or makes the same"


def cases(_seed: int) -> Iterator[Case]:
    """One case, of most of a minute."""
    yield Case("two writers", TRAINING, "Snakemake killed, --unlock, again", EXPECTED, restarted, (TRAINING,))


def restarted(lab: Lab) -> Outcome:
    """Kill Snakemake alone once its training has a checkpoint; stop the training while Snakemake starts again."""
    with lab.project(TRAINING) as folder:
        first = _start(lab, folder)
        training = None
        try:
            training = _training(folder, first)
            os.kill(training, signal.SIGSTOP)
            first.kill()
            first.communicate()
            unlocked = _run(lab, folder, "--unlock")
            again = _run(lab, folder, "--rerun-incomplete")
            os.kill(training, signal.SIGCONT)
            _wait(lambda: not Path(f"/proc/{training}").exists())
        finally:
            first.kill()
            if training is not None and Path(f"/proc/{training}").exists():
                os.kill(training, signal.SIGKILL)
        third = _run(lab, folder, "--rerun-incomplete")
        refused = "is already running" in again.stdout
        different = [path for path in lab.differences(TRAINING, folder) if not path.endswith("manifest.json")]
        happened = (
            f"unlock: {unlocked.returncode}; second: {again.returncode}, {'refused' if refused else 'not refused'}; "
            f"third: {third.returncode}; other outputs: {', '.join(different) or 'none'}"
        )
        good = unlocked.returncode == 0 and again.returncode != 0 and refused
        return Outcome(happened, good and third.returncode == 0 and not different)


def _command(lab: Lab, folder: Path, *more: str) -> list[str]:
    snakefile = ["--snakefile", str(lab.tree / "Snakefile"), "--directory", str(folder), "--configfile", str(CONFIG)]
    return [sys.executable, "-m", "snakemake", *snakefile, "--cores", "1", *more, *lab.jobs[TRAINING].outputs[-1:]]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _start(lab: Lab, folder: Path) -> subprocess.Popen[str]:
    """Start Snakemake in a group of its own."""
    command, pipe = _command(lab, folder), subprocess.PIPE
    return subprocess.Popen(
        command, env=_environment(), stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _run(lab: Lab, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake to its end; its two streams are one."""
    command, streams = _command(lab, folder, *more), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, env=_environment(), text=True, check=False, **streams)


def _training(folder: Path, snakemake: subprocess.Popen[str]) -> int:
    """Wait for the first checkpoint; return the training's process, which its lock names."""
    scratch = folder / "results/checkpoints/a-star-po/seed-0"
    _wait(lambda: any(scratch.glob("*/world-1/step-*/sha256.json")) or snakemake.poll() is not None)
    if snakemake.poll() is not None:
        raise RuntimeError(f"Snakemake ended before its training had a checkpoint: {snakemake.communicate()[0][-500:]}")
    found = re.search(r"process (\d+)", (scratch / "lock").read_text())
    if found is None:
        raise RuntimeError("the lock does not name the training's process")
    return int(found[1])


def _wait(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > HUNG_S:
            raise TimeoutError(f"nothing within {HUNG_S:.0f} s")
        time.sleep(0.02)
