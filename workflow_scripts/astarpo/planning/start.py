"""What the jobs of an invocation need of this machine, checked before the first of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.common.devices import check_allowed, check_enough, torch_problem
from astarpo.common.errors import InputError
from astarpo.planning.needs import package_problems


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
    """Refuse jobs that this machine cannot run, for the most fundamental reason: cards, torch, packages, limits.

    Args:
        device: ``machine.device``.
        jobs: all that would run.
        own_python: whether jobs run in this Python; in environments of their own, they have another torch.

    Raises:
        InputError: some job could not run; one line with what to do.
    """
    check_enough(max((max(job.gpus, job.allowed) for job in jobs), default=0))
    if own_python:
        torch = torch_problem(device) if any(job.gpus for job in jobs) else None
        packages = package_problems(package for job in jobs for package in job.packages)
        for problem in ([torch] if torch is not None else []) + packages:
            raise InputError(problem)
    for job in jobs:
        check_allowed(job.gpus, job.allowed)
