"""Which jobs of a configuration a machine cannot run, and settings with which it can."""

from __future__ import annotations

from astarpo.config.runs import Config
from astarpo.memory.check import GB, Remedies, shortage
from astarpo.planning.cards import Machine
from astarpo.planning.jobs import Job
from astarpo.planning.sampling_jobs import evaluation_jobs, stage_one_jobs, warm_start_jobs
from astarpo.planning.training_jobs import training_jobs

Key = tuple[str, str]  # of a job: its stage and name


def all_jobs(config: Config, machine: Machine) -> list[Job]:
    """Describe every job of a configuration that loads a model."""
    card = machine.card
    return [
        *warm_start_jobs(config),
        *stage_one_jobs(config, card),
        *training_jobs(config, card),
        *evaluation_jobs(config, card),
    ]


def key_of(job: Job) -> Key:
    """What tells a job from the others of a configuration; of several that were put together, the first one's."""
    return job.stage, job.first or job.name


def failing(config: Config, machine: Machine) -> set[Key]:
    """List the jobs that a machine cannot run."""
    return {key_of(job) for job in all_jobs(config, machine) if not _runs(config, job, machine)}


def _runs(config: Config, job: Job, machine: Machine) -> bool:
    return job.cards <= machine.cards and job.cache is None and memory_problem(config, job, machine, ()) is None


def free_bytes(job: Job, machine: Machine) -> float | None:
    """Bytes that a job can allocate on its device; None: not known."""
    if job.cards == 0:
        return machine.ram_bytes
    return machine.free_bytes(job.cards)


def memory_problem(config: Config, job: Job, machine: Machine, remedies: Remedies) -> str | None:
    """Say in one line why a job does not fit into memory.

    Args:
        config: that the job is of.
        job: one of `all_jobs`, or of `jobs.merged` of these.
        machine: on which it would run.
        remedies: settings with which it might fit, with their estimates.

    Returns:
        The line; None if it fits, or if nothing is known of the model.
    """
    if job.estimate is None:
        return None
    free, title = free_bytes(job, machine), f"{job.stage} of {job.name}"
    processes = config.machine.devices if job.stage == "training" else 1
    return shortage(title, job.estimate, _device(job, machine), free, machine.ram_bytes, lambda: remedies, processes)


def _device(job: Job, machine: Machine) -> str:
    """What a message calls the job's device."""
    if job.cards == 0 or machine.card is None:
        return "cpu" if job.cards == 0 else "cuda"
    used = machine.used_by_others(job.cards)
    return f"{machine.card.name}, where other programs use {used / GB:.1f} GB," if used > GB else machine.card.name
