"""Mutation testing: apply one deliberate bug at a time to a copy of the repository and run the tests that must fail.

The bugs are in tests/mutants.yaml. Exit status 1 when too many of them survive.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = "tests/mutants.yaml"
LEAST_RATE = 0.95
# A mutation may loop forever; nothing that a mutant is given to run takes a tenth of this.
TIMEOUT_S = 600.0
# Each run of pytest is a fork of a process that has loaded what takes long to load: seconds saved a mutant.
FORK = multiprocessing.get_context("fork")
PRELOADED = ("hypothesis", "sympy", "transformers.models.qwen2.modeling_qwen2")


@dataclass(frozen=True)
class Mutant:
    """One deliberate bug.

    Attributes:
        name: unique; what it breaks.
        file: the file that is changed, relative to the root of the repository.
        original, replacement: a part of one line that occurs once in the file, and what takes its place.
        tests: pytest node ids or files, at least one of which must fail.
        explained: why no test can tell the two apart; None for a mutant that must die.
    """

    name: str
    file: str
    original: str
    replacement: str
    tests: tuple[str, ...]
    explained: str | None = None

    def problem(self, root: Path) -> str | None:
        """What keeps this mutant from being applied under ``root``; None if nothing does."""
        if "\n" in self.original + self.replacement or self.original == self.replacement:
            return f"{self.name}: must change a part of one line"
        if not (root / self.file).is_file():
            return f"{self.name}: there is no file {self.file}"
        count = (root / self.file).read_text(encoding="utf-8").count(self.original)
        if count == 1:
            return None
        return f"{self.name}: {self.original!r} occurs {count} times in {self.file}, must be once"

    def apply(self, root: Path) -> None:
        """Change the file under ``root``."""
        text = (root / self.file).read_text(encoding="utf-8")
        (root / self.file).write_text(text.replace(self.original, self.replacement), "utf-8")


def load(path: Path) -> list[Mutant]:
    """Read the list: file -> entries with ``name``, ``from``, ``to``, ``tests`` and perhaps ``explained``."""
    listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Mutant(one["name"], file, one["from"], one["to"], tuple(one["tests"]), one.get("explained"))
        for file, entries in listed.items()
        for one in entries
    ]


def choose(mutants: Sequence[Mutant], only: Sequence[str], count: int | None) -> list[Mutant]:
    """Those that are named, or ``count`` spread evenly over the list, or all.

    Raises:
        ValueError: a name is not in the list.
    """
    if unknown := set(only) - {mutant.name for mutant in mutants}:
        raise ValueError(f"no such mutant: {', '.join(sorted(unknown))}")
    if only:
        return [mutant for mutant in mutants if mutant.name in only]
    count = min(count or len(mutants), len(mutants))
    return [mutants[index * len(mutants) // count] for index in range(count)]


def copy_tree(root: Path, target: Path) -> None:
    """Copy the files that git tracks or does not ignore, as they are in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)


def run_pytest(tree: Path, tests: Sequence[str]) -> None:
    """End this process with pytest's exit status, 0 where all tests pass, without a word."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def passes(tree: Path, tests: Sequence[str], timeout_s: float | None) -> bool:
    """Run tests in a copy up to the first that fails; longer than ``timeout_s`` (None: no limit) is a failure.

    Raises:
        RuntimeError: there is no such test, so that nothing can fail.
    """
    process = FORK.Process(target=run_pytest, args=(tree, tests))
    process.start()
    process.join(timeout_s)
    if process.exitcode is None:
        os.killpg(process.ident or 0, signal.SIGKILL)
        process.join()
    if process.exitcode == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError(f"no test is collected from {' '.join(tests)}")
    return process.exitcode == pytest.ExitCode.OK


def dies(tree: Path, mutant: Mutant) -> bool:
    """Try one mutant in a copy of a tree, and print what came of it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(tree, Path(folder) / "copy")
        mutant.apply(copy)
        dead = not passes(copy, mutant.tests, TIMEOUT_S)
    said = "dies" if dead else "SURVIVES" if mutant.explained is None else "survives"
    print(f"{said:8} {time.monotonic() - started:5.1f} s  {mutant.name}", flush=True)
    return dead


def dead_of(mutants: Sequence[Mutant], root: Path, jobs: int) -> list[bool]:
    """Try every mutant in copies of the repository, ``jobs`` at a time.

    Raises:
        ValueError: a mutant cannot be applied.
        RuntimeError: their tests fail without any mutant, so that each would seem to die.
    """
    if problems := list(filter(None, (mutant.problem(root) for mutant in mutants))):
        raise ValueError("; ".join(problems))
    # A mutant of equal length, written within the same second, would be taken for the compiled file before it.
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(root, tree := Path(folder))
        every = sorted({test for mutant in mutants for test in mutant.tests})
        if not passes(tree, every, timeout_s=None):
            raise RuntimeError(f"without any mutant, these tests must pass: {' '.join(every)}")
        with ProcessPoolExecutor(jobs, FORK) as pool:
            return list(pool.map(partial(dies, tree), mutants))


def report(mutants: Sequence[Mutant], dead: Sequence[bool]) -> bool:
    """Print survivors and the rate; whether enough died."""
    for mutant, died in zip(mutants, dead, strict=True):
        change = f"{mutant.name}: {mutant.original!r} -> {mutant.replacement!r} in {mutant.file}"
        if not died and mutant.explained is None:
            print(f"survived {change}; tests: {' '.join(mutant.tests)}")
        elif not died:
            print(f"survived, explained: {change}: {mutant.explained}")
        elif mutant.explained is not None:
            print(f"died, although explained: {change}; drop the explanation")
    rate = sum(dead) / len(mutants)
    print(f"{sum(dead)} of {len(mutants)} mutants died: {rate:.1%}, at least {LEAST_RATE:.0%} must")
    return rate >= LEAST_RATE


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--count", type=int, help="try this many, spread evenly over the list")
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at the same time")
    arguments = parser.parse_args()
    for module in PRELOADED:
        importlib.import_module(module)
    try:
        mutants = choose(load(ROOT / LIST), arguments.only, arguments.count)
        enough = report(mutants, dead_of(mutants, ROOT, arguments.jobs))
    except (ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if enough else 1)


if __name__ == "__main__":
    main()
