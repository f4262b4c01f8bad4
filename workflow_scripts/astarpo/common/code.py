"""The files that a script is made of: itself and the library modules that it imports, found by parsing."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = "astarpo"


def import_closure(script: str | Path, leave_out: tuple[str, ...] = ()) -> list[Path]:
    """List the library modules that a script imports, directly or through others.

    Imports inside functions count too: a module that is imported late is code all the same.

    Args:
        script: a file beside the package folder, ``workflow_scripts/<script>.py``.
        leave_out: dotted module names that this configuration does not use (engines not chosen).

    Returns:
        Paths under the package folder, sorted, packages' ``__init__.py`` included.
    """
    return list(_closure(Path(script), leave_out))


@cache
def _closure(script: Path, leave_out: tuple[str, ...]) -> tuple[Path, ...]:
    """Found once in a process: a sweep of hundreds of trainings asks for each of them."""
    root = script.parent
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        for name in _imports(waiting.pop()):
            for path in _module_files(root, name, leave_out):
                if path not in found:
                    found.add(path)
                    waiting.append(path)
    return tuple(sorted(found))


def code_sha256(script: str | Path, leave_out: tuple[str, ...] = ()) -> str:
    """Hash a script with its import closure; names count, so a moved module changes the hash."""
    digest = hashlib.sha256()
    root = Path(script).parent
    for path in [Path(script), *import_closure(script, leave_out)]:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{content}\n".encode())
    return digest.hexdigest()


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Dotted names that a file imports from the package (names that are no module are sorted out later)."""
    return tuple(dict.fromkeys(_walk_imports(ast.parse(path.read_text(encoding="utf-8")))))


def _walk_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _module_files(root: Path, name: str, leave_out: tuple[str, ...]) -> Iterator[Path]:
    """The file of a module and the ``__init__.py`` of each package above it."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        if ".".join(parts[:length]) in leave_out:
            return
        folder = root.joinpath(*parts[:length])
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
        elif folder.with_suffix(".py").is_file():
            yield folder.with_suffix(".py")
