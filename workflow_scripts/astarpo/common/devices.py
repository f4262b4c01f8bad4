"""The GPUs of this machine, each claimed by one job at a time.

A job holds a file lock for each of its devices. The system releases a lock when the last process that has the file
open ends, so even a job killed with SIGKILL leaves nothing behind. Where the file system has no such locks, see
`lock_files`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import random
import re
import runpy
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from astarpo.common import lock_files
from astarpo.common.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCKS = "ASTARPO_DEVICE_LOCKS"  # overrides the folder of the locks
WHY = "machine.device, machine.devices, machine.sampler_tensor_parallel"  # settings that a job's number follows from
INSTALL_GPU = "make install-gpu, then . .venv-gpu/bin/activate"


@dataclass(frozen=True)
class Claim:
    """Devices held until this process, and every child that inherits the files, has ended.

    Attributes:
        names: as in ``CUDA_VISIBLE_DEVICES``.
        files: descriptors of the locked files; a program that should hold the devices must inherit them.
    """

    names: list[str]
    files: list[int]


def visible_devices() -> list[str]:
    """List the GPUs that a program started now could use, in CUDA's order.

    Returns:
        What ``CUDA_VISIBLE_DEVICES`` names if it is set, else the numbers of all GPUs.

    Raises:
        InputError: the variable names a GPU that does not exist.
    """
    there = _count()
    named = os.environ.get(VISIBLE)
    if named is None:
        return [str(number) for number in range(there or 0)]
    names = named_devices(named)
    for name in names:
        if there is not None and name.isdigit() and int(name) >= there:
            raise InputError(
                f"{VISIBLE}={named} names GPU {name}, but this machine has "
                f"{_count_of(there) if there else 'none'}, numbered from 0; "
                "name an existing one, or unset the variable"
            )
    return names


def named_devices(text: str) -> list[str]:
    """Split the value of ``CUDA_VISIBLE_DEVICES``; like CUDA, ignore everything from the first -1 on."""
    names = takewhile(lambda name: name != "-1", re.split(r"\s*,\s*", text.strip()))
    return [name for name in names if name]


def check_enough(count: int) -> list[str]:
    """Refuse a job that needs more GPUs than there are.

    Args:
        count: how many one job needs.

    Returns:
        The result of `visible_devices`; empty, without checking, if no GPU is needed.

    Raises:
        InputError: the job could never start.
    """
    names = visible_devices() if count else []
    if count <= len(names):
        return names
    limit = f" ({VISIBLE}={os.environ[VISIBLE]})" if VISIBLE in os.environ else ""
    raise InputError(
        f"a job needs {_count_of(count)} ({WHY}), but this machine has "
        f"{_count_of(len(names)) if names else 'none that can be used'}{limit}; set machine.device to cpu or "
        "lower the others, or run where the GPUs are: snakemake --workflow-profile profiles/slurm"
    )


def torch_problem(device: str) -> str | None:
    """Say in one line why the installed torch cannot use a device, without importing it, which is slow.

    Args:
        device: ``machine.device``.

    Returns:
        The line; None unless torch was certainly built for CPUs only.
    """
    version = None if device == "cpu" else _torch_for_cpus()
    if version is None:
        return None
    return (
        f"machine.device = {device!r}: torch {version} was built for CPUs and sees no GPU: {INSTALL_GPU}, or set "
        "machine.device: cpu"
    )


def _torch_for_cpus() -> str | None:
    """The version of a torch without CUDA and ROCm; None for another one, or if there is none."""
    found = importlib.util.find_spec("torch")
    file = Path(found.origin).with_name("version.py") if found is not None and found.origin else None
    if file is None or not file.is_file():
        return None
    built = runpy.run_path(str(file))
    if "cuda" not in built or built["cuda"] or built.get("hip"):
        return None
    return str(built.get("__version__"))


def check_allowed(wanted: int, allowed: int) -> None:
    """Refuse a limit below what one job uses: Snakemake would start the job all the same, and say it has fewer.

    Args:
        wanted: GPUs that a job uses.
        allowed: GPUs that Snakemake gives it, limited by ``--resources`` and the profile.

    Raises:
        InputError: the job would use GPUs that it did not claim, or fail for want of them.
    """
    if wanted > allowed:
        raise InputError(
            f"a job needs {_count_of(wanted)} ({WHY}), but Snakemake may give it {allowed}: add --resources "
            f"gpu={wanted}"
        )


def claim(count: int) -> Claim:
    """Claim GPUs that no other job holds; wait until there are enough.

    Inside a SLURM allocation, only jobs of the same allocation are kept apart: SLURM decides which devices the
    allocation gets, and the same number means another device in another allocation.

    Args:
        count: how many.

    Returns:
        The devices; keep ``files`` open while using them.

    Raises:
        InputError: the machine does not have that many.
    """
    names = check_enough(count)
    folder = _lock_folder()
    waiting = False
    while (taken := _try_claim(count, names, folder)) is None:
        if not waiting:
            print(f"waiting for {_count_of(count)}: other jobs use {', '.join(names)}", flush=True)
        waiting = True
        time.sleep(random.uniform(0.3, 0.7))  # jobs that wait for the same devices must not stay in step
    return taken


def slurm_job(nodes: int) -> str:
    """The number of the SLURM job that this process belongs to.

    Args:
        nodes: number of nodes that one training needs.

    Raises:
        InputError: this is not a SLURM job.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        raise InputError(
            f"machine.nodes is {nodes}, but this is not a SLURM job: set it to 1, or run with "
            "snakemake --workflow-profile profiles/slurm-nodes"
        )
    return job


def check_partitions(partition_of: Mapping[str, str | None]) -> None:
    """Refuse rules without a SLURM partition, or with one that does not exist.

    Args:
        partition_of: rule -> its ``slurm_partition``, or several separated by commas.

    Raises:
        InputError: one message for all rules.
    """
    without = sorted(rule for rule, name in partition_of.items() if not name)
    if without:
        raise InputError(
            f"no SLURM partition for {', '.join(without)}: name one in the profile, as in\n"
            "  default-resources:\n    slurm_partition: cpu\n"
            "and under set-resources for rules that use a model; `sinfo` lists the partitions"
        )
    known = _partitions()
    for rule, names in sorted(partition_of.items()):
        for name in str(names).split(","):
            if known and name not in known:
                raise InputError(
                    f"slurm_partition = '{name}' of {rule}: SLURM has no such partition; it has "
                    f"{', '.join(sorted(known))}. Edit default-resources or set-resources of the profile"
                )


def _partitions() -> set[str]:
    """All partitions of the cluster; empty if SLURM does not answer (submitting will say why)."""
    try:
        listed = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return set(listed.stdout.split()) if listed.returncode == 0 else set()


def _try_claim(count: int, names: Sequence[str], folder: Path) -> Claim | None:
    taken: dict[str, tuple[Path, int]] = {}
    for name in names:
        if len(taken) == count:
            break
        path = folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock"
        file = _take(path)
        if file is not None:
            taken[name] = (path, file)
    if len(taken) == count:
        return Claim(list(taken), [file for _, file in taken.values()])
    for path, file in taken.values():
        os.close(file)
        lock_files.give_back(lock_files.beside(path))
    return None


def _take(path: Path) -> int | None:
    """Lock a file, and return its descriptor; None if another job has the lock."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError:  # some network file systems have no locks; the job's program takes over this process's number
        free = lock_files.take(lock_files.beside(path)) is None
    else:
        return file
    if free:
        return file
    os.close(file)
    return None


def _open(path: Path) -> int:
    """Open read-only, which suffices for a lock, so that files of other users work as well."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


def _lock_folder() -> Path:
    """One folder per machine, shared by all users and checkouts; in memory, so that a restart empties it."""
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() else Path(tempfile.gettempdir())
    folder = Path(os.environ.get(LOCKS) or base / "astarpo-devices")
    allocation = os.environ.get("SLURM_JOB_ID")
    folders = [folder]
    if allocation and VISIBLE in os.environ:
        folders.append(folder / f"slurm-{allocation}")
    for path in folders:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o1777)
    return folders[-1]


def _count() -> int | None:
    """Number of GPUs of the machine; None if unknown."""
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except OSError:
        return len(list(Path("/dev").glob("nvidia[0-9]*"))) or None
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _count_of(number: int) -> str:
    return f"{number} GPU" if number == 1 else f"{number} GPUs"
