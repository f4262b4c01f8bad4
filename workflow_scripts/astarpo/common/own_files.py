"""A user's Python file and the modules beside it that it imports: found by parsing, and loaded without name clashes.

The file and its siblings are modules of a package that stands for their folder, so a ``utils.py`` is neither the
``utils.py`` of another folder nor a library of that name. In these files ``import utils`` means the sibling if there is
one; names of the standard library and of this package keep their meaning.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from hashlib import sha256
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from astarpo.common.errors import InputError
from astarpo.common.syntax import read_syntax

RESERVED = sys.stdlib_module_names | {"astarpo"}
PREFIX = "_own_files_"  # of the packages that stand for folders


@cache
def own_files(path: str) -> tuple[str, ...]:
    """List a user's file and the modules beside it that it imports, directly or through others.

    The result is cached, so that Snakemake plans with one state of the files.

    Args:
        path: the file.

    Returns:
        The file, then its siblings, sorted; all relative if ``path`` is.

    Raises:
        InputError: a file is missing or is not valid Python.
    """
    first = Path(path)
    found, waiting = {first}, [first]
    while waiting:
        file = waiting.pop()
        new = set(_siblings(first.parent, file, _imports(file))) - found
        found |= new
        waiting += new
    return first.as_posix(), *sorted(file.as_posix() for file in found - {first})


def load_own(path: str) -> ModuleType:
    """Load a user's file, once per process.

    Args:
        path: the file.

    Raises:
        Exception: whatever the file raises while it is loaded.
    """
    file = Path(path).absolute()
    name = f"{_package(file.parent)}.{file.stem.replace('.', '%')}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, file, loader=_Loader(name, str(file)))
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _imports(file: Path) -> list[str]:
    try:
        return read_syntax(file).imports
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file} is not valid Python ({error})") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from error


def _siblings(folder: Path, file: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files in ``folder`` that the imports of ``file`` load; a leading dot marks a relative import."""
    for name in names:
        parts = name.lstrip(".").split(".")
        level = len(name) - len(name.lstrip("."))
        if (level == 0 and parts[0] in RESERVED) or level > len(file.parents):
            continue
        base = file.parents[level - 1] if level else folder
        if base.is_relative_to(folder):
            yield from _module_files(base, parts)


def _module_files(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    for part in parts:
        module = folder / f"{part}.py"
        folder = folder / part
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
        elif module.is_file():
            yield module
            return


def _is_sibling(folder: Path, name: str) -> bool:
    """Whether a folder has a module or package of this name; a folder with Python files is a package."""
    return name not in RESERVED and ((folder / f"{name}.py").is_file() or any((folder / name).glob("*.py")))


def _package(folder: Path) -> str:
    """The package that stands for a folder, made when it is first needed."""
    name = PREFIX + sha256(str(folder).encode()).hexdigest()[:16]
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
    return name


class _Finder:
    """Finds the modules of these packages, in the package's folder only."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module of such a package, as `sys.meta_path` asks for it; None leaves others to the usual finders."""
        for folder in path or () if name.startswith(PREFIX) else ():
            spec = FileFinder(folder, (_Loader, SOURCE_SUFFIXES)).find_spec(name)
            if spec is not None:
                return spec
        return None


class _Loader(SourceFileLoader):
    """Runs a file with an ``import`` statement that looks beside it first."""

    def path_stats(self, path: str) -> Mapping[str, float]:
        """Refuse, so that no bytecode is cached: two edits within a second can leave stale bytecode."""
        raise OSError

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.split(".")[0]
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": partial(_import, package)}
        super().exec_module(module)


def _import(
    package: str,
    name: str,
    scope: Mapping[str, object] | None = None,
    local: Mapping[str, object] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """Do what ``__import__`` does, with the modules of the package's folder before installed ones."""
    top = name.split(".")[0]
    if level or not _is_sibling(Path(sys.modules[package].__path__[0]), top):
        return builtins.__import__(name, scope, local, fromlist, level)
    if fromlist:
        return builtins.__import__(f"{package}.{name}", scope, local, fromlist)
    importlib.import_module(f"{package}.{name}")
    return sys.modules[f"{package}.{top}"]
