"""Snakemake for tests that call it often: imported once, in a process that is forked for each call.

Importing Snakemake takes about as long as planning the workflow. A call sees a process that has imported Snakemake
and nothing else, so it behaves as `python -m snakemake` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path


def snakemake(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake.

    Args:
        folder: the working directory.
        options: the command line.
        environment: added to that of this process; this Python's folder comes first in ``PATH``.

    Returns:
        Its exit status, and in ``stdout`` what it wrote to both streams, in order.
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    server = _server()
    with tempfile.NamedTemporaryFile("r+") as written:
        call = {
            "options": options,
            "folder": str(folder),
            "environment": {**os.environ, "PATH": path, **environment},
            "written": written.name,
        }
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(list(options), status, written.read(), "")


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one, when its input is closed."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, cwd="/")


def _serve() -> None:
    import snakemake.cli  # noqa: F401

    # As a child of `python -m snakemake` this script's own folder would not be on the path.
    sys.path.pop(0)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(call: dict[str, object]) -> None:
    from snakemake.cli import main

    os.environ.clear()
    os.environ.update(call["environment"])  # type: ignore[call-overload]
    os.chdir(str(call["folder"]))
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    nothing, written = os.open(os.devnull, os.O_RDONLY), os.open(str(call["written"]), os.O_WRONLY)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    sys.argv = ["snakemake", *call["options"]]  # type: ignore[misc]
    main()


if __name__ == "__main__":
    _serve()
