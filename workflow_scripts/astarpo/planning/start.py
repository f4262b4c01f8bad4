"""What the jobs of an invocation need of this machine, checked before the first of them starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.common.devices import check_allowed, check_enough, torch_problem
from astarpo.common.errors import InputError
from astarpo.planning.needs import package_problems
from astarpo.planning.this_machine import driver_problem


@dataclass(frozen=True)
class JobNeeds:
    """What a job uses.

    Attributes:
        gpus: that it uses, whatever Snakemake may give it.
        allowed: GPUs that Snakemake gives it.
        packages: that the usual environments lack, each with the key that asks for it.
    """

    gpus: int
    allowed: int
    packages: tuple[tuple[str, str], ...] = ()


def check_can_run(device: str, jobs: Sequence[JobNeeds], own_python: bool) -> None:
    """Refuse jobs that this machine cannot run, for the most fundamental reason.

    That is the first of: too few cards, a torch for CPUs, an old driver, missing packages, a limit on GPUs.

    Args:
        device: ``machine.device``.
        jobs: all that would run.
        own_python: whether jobs run in this Python; in environments of their own, they have another torch.

    Raises:
        InputError: some job could not run; one line with what to do.
    """
    check_enough(max((max(job.gpus, job.allowed) for job in jobs), default=0))
    if own_python:
        problem = (torch_problem(device) or _driver_problem()) if any(job.gpus for job in jobs) else None
        packages = package_problems(package for job in jobs for package in job.packages)
        for one in ([problem] if problem is not None else []) + packages:
            raise InputError(one)
    for job in jobs:
        check_allowed(job.gpus, job.allowed)


def _driver_problem() -> str | None:
    """Say in one line that the driver is too old, unless torch sees a GPU all the same (CUDA's compatibility)."""
    found = driver_problem()
    if found is None:
        return None
    sees = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return None if subprocess.run([sys.executable, "-c", sees], capture_output=True).returncode == 0 else found
