"""Run a stage's script: its output goes to a log, its progress bar to the terminal.

    python launch.py --log LOG SCRIPT ARGUMENTS...

The script replaces this process, so signals (SIGTERM at a cluster's walltime) reach it directly.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TERMINAL_FD = "ASTARPO_TERMINAL_FD"  # astarpo.progress draws its bar there


def main(arguments: list[str]) -> None:
    if len(arguments) < 3 or arguments[0] != "--log":
        print(__doc__, file=sys.stderr)
        sys.exit(0 if arguments in (["--help"], ["-h"]) else 2)
    log, script = Path(arguments[1]), arguments[2]
    log.parent.mkdir(parents=True, exist_ok=True)
    if sys.stderr.isatty():
        terminal = os.dup(2)
        os.set_inheritable(terminal, True)
        os.environ[TERMINAL_FD] = str(terminal)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.execv(sys.executable, [sys.executable, "-u", script, *arguments[3:]])


if __name__ == "__main__":
    main(sys.argv[1:])
