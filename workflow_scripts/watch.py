"""Watch running trainings: the newest step of each, updated every few seconds."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from astarpo.training.watch import read_trainings, table

CLEAR = "\x1b[H\x1b[2J"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", default="results", help="the folder with all results")
    parser.add_argument("--once", action="store_true", help="print the current state and stop")
    parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="time between updates")
    arguments = parser.parse_args()
    on_terminal = sys.stdout.isatty()
    while True:
        shown = table(read_trainings(Path(arguments.results)), time.time())
        print((CLEAR if on_terminal and not arguments.once else "") + shown, flush=True)
        if arguments.once:
            return
        time.sleep(arguments.every)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
