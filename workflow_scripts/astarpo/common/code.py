"""The code of a job as one fingerprint: its script and the library modules that it imports, found by parsing.

Only some jobs use engines, adapters and the methods of training. A job names the modules of these that it uses (of
`OPTIONAL` and the rows of `Choices` tables); the others do not count as its code, though its script could import them.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from astarpo.common.errors import InputError
from astarpo.common.own_files import own_files
from astarpo.common.syntax import Syntax, read_syntax

PACKAGE = "astarpo"
SCRIPTS = Path(__file__).resolve().parents[2]
OPTIONAL = frozenset(
    {
        "astarpo.model.lora",
        "astarpo.sampling.vllm_engine",
        "astarpo.sampling.vllm_process",
        "astarpo.sampling.vllm_weights",
        "astarpo.stage_one.values",
        "astarpo.training.deepspeed.loading",
    }
)
# These measure and show how fast a training is, which no result depends on: an edit makes no training run again.
MEASURING = frozenset({"astarpo.training.speed", "astarpo.training.trace"})
FINGERPRINT = "ASTARPO_CODE"  # the environment variable by which the launcher passes a script its fingerprint
Chosen = tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """The code that a job runs.

    Attributes:
        script: name of the script, without ``.py``.
        modules: file, relative to the folder of the scripts -> hash of its content, see `astarpo.common.syntax`.
        chosen: optional modules and user files (verifiers) that the job uses; None: all modules. A user's file stands
            for its siblings too, see `astarpo.common.own_files`.
    """

    script: str
    modules: Mapping[str, str]
    chosen: Chosen | None

    @property
    def sha256(self) -> str:
        """One hash of all modules and their names, so moving a module changes it."""
        lines = (f"{name}\0{digest}\n" for name, digest in sorted(self.modules.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """What Snakemake compares and passes to the job: the hash, the script, the chosen modules."""
        return shlex.join([self.sha256[:16], self.script, *(self.chosen or ())])


@cache
def read_code(script: str, chosen: Chosen | None = None) -> Code:
    """Read the code of a job, once per process, so that Snakemake plans with one state of the files.

    Args:
        script: name of a script beside the package, without ``.py``.
        chosen: as in `Code`; None for everything that the script could use.
    """
    own = [Path(file) for name in chosen or () if name.endswith(".py") for file in own_files(name)]
    files = [SCRIPTS / f"{script}.py", *import_closure(SCRIPTS / f"{script}.py", chosen), *own]
    digests = {path: _syntax(path).sha256(lambda row: _counts(row, chosen)) for path in files}
    return Code(script, {_name(path): digests[path] for path in files}, chosen)


def check_planned(script: str, fingerprint: str) -> Code:
    """Read the code of a job again and check that it is the code that the job was planned with.

    Args:
        script: as in `read_code`.
        fingerprint: as Snakemake passed it to the job.

    Raises:
        InputError: the code was edited in the meantime.
    """
    code = read_code(script, tuple(shlex.split(fingerprint)[2:]))
    if code.fingerprint != fingerprint:
        raise InputError(
            f"the code of {script} was edited after Snakemake planned this job, so nothing was started; "
            "run `snakemake` again"
        )
    return code


def code_of_job(script: str) -> Code:
    """The code of this process's job, checked against the planned code; outside of a job, all that it could use.

    Call this after the modules have been imported, so that an edit in the meantime is noticed.

    Raises:
        InputError: the code was edited in the meantime.
    """
    planned = os.environ.get(FINGERPRINT)
    return read_code(script) if planned is None else check_planned(script, planned)


def file_sha256(path: Path) -> str:
    """Hash the code in one file."""
    return _syntax(path).sha256(lambda row: True)


def import_closure(script: Path, chosen: Chosen | None = None) -> list[Path]:
    """List the library modules that a script imports, directly or through others.

    Imports inside functions count too, as modules imported late are code as well.

    Args:
        script: a file beside the package folder.
        chosen: as in `Code`.

    Returns:
        Paths under the package folder, sorted, packages' ``__init__.py`` included.
    """
    modules: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in _imports(waiting.pop(), chosen):
            for path in _module_files(script.parent, name, chosen):
                if path not in modules:
                    modules.add(path)
                    waiting.append(path)
    return sorted(modules)


def forget() -> None:
    """Clear the caches, so that every file is read again."""
    read_code.cache_clear()
    own_files.cache_clear()
    _syntax.cache_clear()
    _module_file.cache_clear()


def _name(path: Path) -> str:
    return path.relative_to(SCRIPTS).as_posix() if path.is_relative_to(SCRIPTS) else path.as_posix()


def _counts(module: str, chosen: Chosen | None) -> bool:
    return chosen is None or module in chosen


@cache
def _syntax(path: Path) -> Syntax:
    return read_syntax(path)


def _imports(path: Path, chosen: Chosen | None) -> list[str]:
    """Dotted names that a file imports from the package (those that are not modules are filtered out later)."""
    syntax = _syntax(path)
    rows = [module for table in syntax.tables for module in table.values() if _counts(module, chosen)]
    return [name for name in dict.fromkeys([*syntax.imports, *rows]) if name.split(".")[0] == PACKAGE]


def _module_files(root: Path, name: str, chosen: Chosen | None) -> Iterator[Path]:
    """The file of a module and the ``__init__.py`` of each package above it."""
    packages = name.split(".")
    for length in range(1, len(packages) + 1):
        dotted = ".".join(packages[:length])
        if dotted in MEASURING or (dotted in OPTIONAL and not _counts(dotted, chosen)):
            return
        if (file := _module_file(root, dotted)) is not None:
            yield file


@cache
def _module_file(root: Path, dotted: str) -> Path | None:
    folder = root.joinpath(*dotted.split("."))
    return next((file for file in (folder / "__init__.py", folder.with_suffix(".py")) if file.is_file()), None)
