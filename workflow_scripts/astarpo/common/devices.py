"""GPUs of this machine: which there are, and one job to a device at a time.

A job holds a file lock for each of its devices. The system drops the locks with the last process that has
them open, so a job that was killed with SIGKILL leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from astarpo.common.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCKS = "ASTARPO_DEVICE_LOCKS"  # names another folder for the locks


@dataclass(frozen=True)
class Claim:
    """Devices that this process holds until it, and every child that was given the files, has ended.

    Attributes:
        names: as ``CUDA_VISIBLE_DEVICES`` spells them.
        files: descriptors of the locked files; a program that is to hold them must inherit them.
    """

    names: list[str]
    files: list[int]


def visible_devices() -> list[str]:
    """Name the GPUs that a program started now could use, in CUDA's order.

    Returns:
        What ``CUDA_VISIBLE_DEVICES`` names if it is set, else the numbers of all GPUs.

    Raises:
        InputError: the variable names a number that there is not.
    """
    there = _count()
    named = os.environ.get(VISIBLE)
    if named is None:
        return [str(number) for number in range(there or 0)]
    # As CUDA reads it: what follows the first -1 does not count.
    names = list(takewhile(lambda name: name != "-1", re.split(r"\s*,\s*", named.strip())))
    for name in names:
        if there is not None and name.isdigit() and int(name) >= there:
            raise InputError(
                f"{VISIBLE}={named} names GPU {name}, but this machine has "
                f"{_count_of(there) if there else 'none'}, numbered from 0; "
                "name one that is there, or unset the variable"
            )
    return [name for name in names if name]


def check_enough(count: int) -> list[str]:
    """Refuse more GPUs than there are.

    Args:
        count: how many one job needs.

    Returns:
        What `visible_devices` found; empty, without checking, where none is needed.

    Raises:
        InputError: the job could never start.
    """
    names = visible_devices() if count else []
    if count <= len(names):
        return names
    limit = f" ({VISIBLE}={os.environ[VISIBLE]})" if VISIBLE in os.environ else ""
    raise InputError(
        f"a job needs {_count_of(count)} (machine.device, machine.devices), but this machine has "
        f"{_count_of(len(names)) if names else 'none that can be used'}{limit}; set machine.device to cpu or "
        "lower machine.devices, or run where the GPUs are: snakemake --workflow-profile profiles/slurm"
    )


def claim(count: int) -> Claim:
    """Take GPUs that no other job holds; wait until there are enough.

    Inside a SLURM allocation only jobs of the same allocation are kept apart: which devices it may use is
    SLURM's business, and the same number is another device in the allocation beside.

    Args:
        count: how many.

    Returns:
        The devices; keep ``files`` open as long as they are used.

    Raises:
        InputError: there are not as many, now or ever.
    """
    names = check_enough(count)
    folder = _lock_folder()
    waiting = False
    while (taken := _try_claim(count, names, folder)) is None:
        if not waiting:
            print(f"waiting for {_count_of(count)}: others use {', '.join(names)}", flush=True)
        waiting = True
        time.sleep(random.uniform(0.3, 0.7))  # two that wait for the same pair do not stay in step
    return taken


def slurm_job(nodes: int) -> str:
    """The number of the SLURM job that this process belongs to.

    Args:
        nodes: how many one training needs.

    Raises:
        InputError: it belongs to none.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        raise InputError(
            f"machine.nodes is {nodes}, but this is not a SLURM job: set it to 1, or run with "
            "snakemake --workflow-profile profiles/slurm-nodes"
        )
    return job


def check_partitions(partition_of: Mapping[str, str | None]) -> None:
    """Refuse rules whose jobs SLURM would have no partition for, or one that does not exist.

    Args:
        partition_of: rule -> its ``slurm_partition``; several may be given, with commas between.

    Raises:
        InputError: one message for all rules.
    """
    without = sorted(rule for rule, name in partition_of.items() if not name)
    if without:
        raise InputError(
            f"no SLURM partition for {', '.join(without)}: name one in the profile, as in\n"
            "  default-resources:\n    slurm_partition: cpu\n"
            "and for rules with a model under set-resources; `sinfo` lists the partitions"
        )
    known = _partitions()
    for rule, names in sorted(partition_of.items()):
        for name in str(names).split(","):
            if known and name not in known:
                raise InputError(
                    f"slurm_partition = '{name}' of {rule}: SLURM knows no such partition; it has "
                    f"{', '.join(sorted(known))}. Edit default-resources or set-resources of the profile"
                )


def _partitions() -> set[str]:
    """All partitions of the cluster; none where SLURM does not answer (submitting says why)."""
    try:
        listed = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return set(listed.stdout.split()) if listed.returncode == 0 else set()


def _try_claim(count: int, names: Sequence[str], folder: Path) -> Claim | None:
    taken = Claim([], [])
    for name in names:
        if len(taken.names) == count:
            break
        file = _open(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        taken.names.append(name)
        taken.files.append(file)
    if len(taken.names) == count:
        return taken
    for file in taken.files:
        os.close(file)
    return None


def _open(path: Path) -> int:
    """Reading is enough for a lock, so another user's file serves as well as your own."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


def _lock_folder() -> Path:
    """One folder a machine, for every user and checkout: in memory, where a restart empties it."""
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
    """GPUs of the machine; None where nothing tells."""
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except OSError:
        return len(list(Path("/dev").glob("nvidia[0-9]*"))) or None
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _count_of(number: int) -> str:
    return f"{number} GPU" if number == 1 else f"{number} GPUs"
