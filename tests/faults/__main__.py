"""Put faults into every stage of a small workflow, for real, and print what came of each.

    python tests/faults [--seed N] [--only PATTERN] [--count N] [--list] [--jobs N] [--tree FOLDER]

Exit status 1 if anything is lost, or wrong without a word.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT / "tests"), *(path for path in sys.path if path != str(ROOT / "tests/faults"))]

from faults.cases import CONTAMINATION, DATASET, Case, Outcome  # noqa: E402 (the path comes first)
from faults.lab import Lab  # noqa: E402
from faults.matrix import choose, matrix  # noqa: E402
from faults.processes import preload  # noqa: E402
from faults.table import row, summary  # noqa: E402


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="draws moments, bits and sizes")
    parser.add_argument("--only", type=re.compile, metavar="PATTERN", help="cases whose name matches")
    parser.add_argument("--count", type=int, help="so many, spread evenly over the list")
    parser.add_argument("--list", action="store_true", help="print the names of the cases, and stop")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases tried at the same time")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the repository under test")
    arguments = parser.parse_args()
    cases = choose(matrix(arguments.seed), arguments.only, arguments.count)
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    started = time.monotonic()
    wanted = {job for case in cases for job in case.jobs}
    preload(models=not wanted <= {DATASET, CONTAMINATION})
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(arguments.tree.resolve(), Path(folder))
        lab.build(wanted)
        outcomes = try_all(cases, lab, arguments.jobs)
    print(summary(cases, outcomes, time.monotonic() - started))
    sys.exit(any(outcome.good is False for outcome in outcomes))


def try_all(cases: Sequence[Case], lab: Lab, jobs: int) -> list[Outcome]:
    """Try cases in forked processes, ``jobs`` at a time, and print each row in its turn."""
    outcomes = []
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        for case, outcome in zip(cases, pool.map(partial(try_one, lab=lab), cases), strict=True):
            print(row(case, outcome), flush=True)
            outcomes.append(outcome)
    return outcomes


def try_one(case: Case, lab: Lab) -> Outcome:
    """Try one case."""
    return case.tried(lab)


if __name__ == "__main__":
    main()
