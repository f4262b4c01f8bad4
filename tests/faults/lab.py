"""Where cases run: a finished small workflow, and copies of the parts of it that a job needs."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.jobs import PLAN, Job, plan
from faults.processes import Ended, Moment, Running, fork, use_tree

Digests = Mapping[str, str]
# How long a stage waits before it saves what is finished: (file, line, the line for jobs of a second).
PAUSES = (
    ("astarpo/common/parts.py", "SECONDS_BETWEEN_PARTS = 5.0", "SECONDS_BETWEEN_PARTS = 0.0"),
    ("astarpo/stage_one/warm_start.py", "SECONDS_BETWEEN_CHECKPOINTS = 10.0", "SECONDS_BETWEEN_CHECKPOINTS = 0.5"),
)


@dataclass
class Lab:
    """A finished workflow that cases copy from.

    Attributes:
        tree: the repository under test.
        folder: where projects are made.
        jobs: name -> job.
        ended: name -> how it ended when nothing disturbed it.
        digests: name -> digests of its outputs then.
    """

    tree: Path
    folder: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    digests: dict[str, Digests] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The project of the undisturbed workflow."""
        return self.folder / "base"

    def build(self, wanted: Iterable[str]) -> None:
        """Run the named jobs, and those that they need, without any fault.

        Raises:
            RuntimeError: one of them failed, or its rewards do not differ, so that its kills would show nothing.
        """
        self.tree = with_short_pauses(self.tree, self.folder / "tree")
        self.jobs, text = planned(self.tree)
        (self.base / PLAN).parent.mkdir(parents=True)
        (self.base / PLAN).write_text(text, encoding="utf-8")
        for name in needed(self.jobs, wanted):
            with Running(self.jobs[name], self.base, self.tree) as running:
                self.ended[name] = running.end()
            if self.ended[name].status != 0:
                raise RuntimeError(f"{name} fails without any fault: {self.ended[name].output[-2000:]}")
            self.digests[name] = digests(self.base, self.jobs[name].outputs)
            if name.startswith("train_policy"):
                self._check_teaches(name)

    def _check_teaches(self, name: str) -> None:
        import pyarrow.parquet as pq

        metrics = next(path for path in self.jobs[name].outputs if path.endswith("metrics.parquet"))
        rewards = pq.read_table(self.base / metrics, use_threads=False)["reward"].to_pylist()[1:]
        if len(set(rewards)) < 2:
            raise RuntimeError(
                f"{name}: every step has the reward {rewards[0]}; give the reference a longer warm start"
            )

    @contextmanager
    def project(self, name: str, into: Path | None = None) -> Iterator[Path]:
        """Copy a job's inputs into a new project; it is deleted at the end."""
        with tempfile.TemporaryDirectory(dir=into or self.folder) as made:
            folder = Path(made)
            copy_paths(self.base, folder, self.inputs(name))
            yield folder

    def inputs(self, name: str) -> list[str]:
        """The files and folders that a job reads; jobs of the plan check the inputs of their inputs as well."""
        job = self.jobs[name]
        before = needed(self.jobs, [name]) if PLAN in job.inputs else []
        return [*job.inputs, *(path for one in before if one != name for path in self.jobs[one].outputs)]

    def start(self, name: str, folder: Path, moment: Moment | None = None) -> Running:
        """Start a job in a project."""
        return Running(self.jobs[name], folder, self.tree, moment)

    def run(self, name: str, folder: Path, moment: Moment | None = None) -> Ended:
        """Run a job in a project to its end."""
        with self.start(name, folder, moment) as running:
            return running.end()

    def differences(self, name: str, folder: Path) -> list[str]:
        """List the outputs of a job that are not what they are without a fault."""
        return differing(self.digests[name], digests(folder, self.jobs[name].outputs))

    def change_at(self, name: str, share: float) -> int:
        """The number of a call that changes a file, at a share of all such calls of a job."""
        return min(int(share * len(self.ended[name].changes)), len(self.ended[name].changes) - 1)


def planned(tree: Path, **how: Any) -> tuple[dict[str, Job], str]:
    """The jobs of a tree by name, and the plan of its tables, made in a process of its own."""
    with tempfile.NamedTemporaryFile() as file:

        def work() -> int:
            use_tree(tree)
            jobs, text = plan(**how)
            Path(file.name).write_bytes(pickle.dumps(({job.name: job for job in jobs}, text)))
            return 0

        _, status = os.waitpid(fork(work), 0)
        if status:
            raise RuntimeError("the jobs of the workflow cannot be planned")
        made: tuple[dict[str, Job], str] = pickle.loads(Path(file.name).read_bytes())
        return made


def with_short_pauses(tree: Path, copy: Path) -> Path:
    """Copy what the workflow runs; jobs of a second write what is finished as those of an hour do, without a pause."""
    for name in ("workflow_scripts", "config", "rules", "envs", "profiles", "report"):
        if (tree / name).is_dir():
            shutil.copytree(tree / name, copy / name)
    if (tree / "Snakefile").is_file():
        shutil.copy2(tree / "Snakefile", copy / "Snakefile")
    for file, pause, shorter in PAUSES:
        path = copy / "workflow_scripts" / file
        text = path.read_text(encoding="utf-8")
        if pause not in text:
            raise RuntimeError(f"{file}: there is no {pause!r}, so kills would show nothing")
        path.write_text(text.replace(pause, shorter), encoding="utf-8")
    return copy


def needed(jobs: Mapping[str, Job], wanted: Iterable[str]) -> list[str]:
    """The wanted jobs and all before them whose outputs they need, in the order of the workflow."""
    maker = {output: job.name for job in jobs.values() for output in job.outputs}
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [maker[path] for path in jobs[name].inputs if path in maker]
    return [name for name in jobs if name in found]


def copy_paths(source: Path, target: Path, paths: Iterable[str]) -> None:
    """Copy files and folders, with their times, from one project to another."""
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if (source / path).is_dir():
            shutil.copytree(source / path, target / path, dirs_exist_ok=True)
        elif not (target / path).exists():
            shutil.copy2(source / path, target / path)


def digests(folder: Path, paths: Sequence[str], content: bool = False) -> dict[str, str]:
    """Digest files and folders.

    Args:
        folder: the project.
        paths: relative to it.
        content: leave out what names the inputs' bytes; only what the results say counts.

    Returns:
        path -> digest, of seconds only how many there are; ``missing`` for what is not there.
    """
    found: dict[str, str] = {}
    for path in paths:
        if (folder / path).is_dir():
            files = sorted(file for file in (folder / path).rglob("*") if file.is_file())
            found |= {str(file.relative_to(folder)): _digest(file, content) for file in files}
        else:
            found[path] = _digest(folder / path, content) if (folder / path).is_file() else "missing"
    return found


def _digest(path: Path, content: bool) -> str:
    if path.name == "timings.parquet":
        import pyarrow.parquet as pq

        return f"{pq.read_metadata(path).num_rows} rows"
    if path.name.endswith("manifest.json") or (content and path.suffix == ".json" and path.parent.name != "model"):
        return _hash(json.dumps(_without(json.loads(path.read_bytes()), content), sort_keys=True).encode())
    if content and path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return _hash(repr(pq.read_table(path, use_threads=False).to_pydict()).encode())
    if content and path.name in ("README.md", "provenance.csv"):
        return "names the inputs"
    return _hash(path.read_bytes())


def _without(value: Any, content: bool) -> Any:
    """A record without times and commit; without hashes of files too where only the content counts."""
    left_out = ("commit", *(("inputs", "outputs") if content else ()))
    if isinstance(value, dict):
        return {
            key: _without(one, content)
            for key, one in value.items()
            if not key.endswith("seconds") and key not in left_out
        }
    return value


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def differing(one: Digests, other: Digests) -> list[str]:
    """Names whose digests differ, or that only one of them has."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
