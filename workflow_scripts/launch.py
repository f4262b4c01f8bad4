"""Start a stage's script: its output goes to a log, its progress bar to the terminal; each job has its own GPUs.

    python launch.py --log LOG [--code CODE] [--gpus N] [--processes N] [--nodes N] SCRIPT ARGUMENTS...

SCRIPT         the name of a script beside this one, or a file
--code CODE    stop if the script's code has changed from this fingerprint, see astarpo.common.code
--gpus N       claim N GPUs that no other job holds, and make only those visible to the script
--processes N  start N processes of the script with torchrun, as one job
--nodes N      the same on each of N nodes of the SLURM allocation, with srun

The script (or torchrun, or srun) replaces this process, so signals (SIGTERM at a cluster's walltime) reach it
directly, and it holds the GPUs and the job's lock until it ends: a second start of the job is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from pathlib import Path

from astarpo.common import cli
from astarpo.common.code import FINGERPRINT, SCRIPTS, check_planned
from astarpo.common.devices import VISIBLE, claim, slurm_job
from astarpo.common.locks import INHERITED, acquire
from astarpo.common.progress import TERMINAL_FD
from astarpo.common.writing import writing

OPTIONS = ("--log", "--code", "--gpus", "--processes", "--nodes")
LOCKS = Path("results/.locks")
MESSAGE_BYTES = 4096
KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE
PORTS = (20000, 30000)  # range of ports for the rendezvous of a job's processes


def main(arguments: list[str]) -> None:
    options, script = split(arguments)
    if "--log" not in options or not script:
        print(__doc__, file=sys.stderr)
        sys.exit(0 if arguments in (["--help"], ["-h"]) else 2)
    cli.run(lambda: start(options, script))


def split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the launcher's options from the script's command line."""
    options = {}
    rest = list(arguments)
    while len(rest) > 1 and rest[0] in OPTIONS:
        options[rest[0]] = rest[1]
        rest = rest[2:]
    return options, [] if rest and rest[0].startswith("-") else rest


def send_output_to(log: Path) -> None:
    """Redirect the standard output and error of this process, and of the script that replaces it, to a file."""
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        # Append, as a job whose Snakemake died may still write here while its successor is refused.
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        reserve(stream, MESSAGE_BYTES)
    if sys.stderr.isatty() and TERMINAL_FD not in os.environ:
        terminal = os.dup(2)
        os.set_inheritable(terminal, True)
        os.environ[TERMINAL_FD] = str(terminal)
    os.dup2(stream, 1)
    os.dup2(stream, 2)


def reserve(stream: int, size: int) -> None:
    """Reserve space for a file beyond its end: a job that fills the disk can then still say so in its log.

    Args:
        stream: of the file.
        size: in bytes.

    Raises:
        OSError: the disk is full already. File systems that cannot reserve space are left alone.
    """
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)  # Linux only
    if fallocate is None:
        return
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    if fallocate(stream, KEEP_SIZE, 0, size) and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def lock_of(log: Path) -> Path:
    """The lock of a job: Snakemake gives each its own log, but removes the log before it starts the job again."""
    return LOCKS / f"{str(log).removeprefix('results/logs/').removeprefix('/')}.lock"


def start(options: dict[str, str], script: list[str]) -> None:
    """Open the log, claim the devices and replace this process by the script, or by torchrun or srun."""
    send_output_to(Path(options["--log"]))
    lock = lock_of(Path(options["--log"]))
    os.set_inheritable(acquire(lock, f"the job of {options['--log']}"), True)
    os.environ[INHERITED] = str(lock)
    if not script[0].endswith(".py"):
        script = [str(SCRIPTS / f"{script[0]}.py"), *script[1:]]
    if "--code" in options:
        check_planned(Path(script[0]).stem, options["--code"])
        os.environ[FINGERPRINT] = options["--code"]  # the script checks again after its imports
    gpus, processes, nodes = (int(options.get(name, "0")) for name in OPTIONS[2:])
    # On several nodes SLURM assigns the devices, as this process sees only those of its node.
    if gpus and nodes <= 1:
        taken = claim(gpus)
        os.environ[VISIBLE] = ",".join(taken.names)
        print(f"GPUs: {os.environ[VISIBLE]}", flush=True)
        for file in taken.files:
            os.set_inheritable(file, True)
    command = [sys.executable, "-u", *script]
    if processes > 1 or nodes > 1:
        command = torchrun(max(processes, 1), max(nodes, 1), script)
    os.execvp(command[0], command)


def torchrun(processes: int, nodes: int, script: list[str]) -> list[str]:
    """The command that starts a script as several processes, on one node or on all nodes of an allocation."""
    run = [sys.executable, "-u", "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    if nodes == 1:
        return [*run, "--standalone", *script]
    job = slurm_job(nodes)
    port = PORTS[0] + int(job) % (PORTS[1] - PORTS[0])
    meet = [
        f"--nnodes={nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-id={job}",
        f"--rdzv-endpoint={socket.gethostname()}:{port}",
    ]
    spread = [
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--kill-on-bad-exit=1",
    ]
    return ["srun", *spread, *run, *meet, *script]


if __name__ == "__main__":
    main(sys.argv[1:])
