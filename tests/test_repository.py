"""Quick checks of the whole repository: texts, command lines, layers, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from astarpo import __version__

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow_scripts"
LIBRARY = SCRIPTS / "astarpo"
MODULES = sorted(LIBRARY.rglob("*.py"))

# Loaded in functions only, so that a command line answers at once.
HEAVY = {
    "datasets",
    "matplotlib",
    "pandas",
    "pydantic",
    "reasoning_gym",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
}

FORBIDDEN_TEXTS = {
    "a path of one machine": r"(?<![\w.])/(?:work|root|home|Users|opt|mnt|srv|tmp)/\w",
    "a host of a package registry": (
        r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.(?:org|com)"
        r"|registry\.npmjs|deb\.debian|archive\.ubuntu"
    ),
}

# The rooms of the library, in the order in which data flows. A module imports only from its own room and those above.
ROOMS = (
    "common",
    "data",
    "model",
    "memory",
    "stage_one",
    "sampling",
    "rewards",
    "objectives",
    "training",
    "evaluation",
    "figures",
    "tables",
    "reruns",
    "config",  # composed of what the stages say of their settings; no stage imports it
    "planning",  # knows every stage's settings and the memory of its jobs
)


def tracked_texts() -> list[Path]:
    """The text files of the repository: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


@pytest.mark.parametrize("what", FORBIDDEN_TEXTS)
def test_no_text_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN_TEXTS[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{what}:\n" + "\n".join(found)


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_help_is_answered_without_heavy_imports(script: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(script), "--help"]
    answered = subprocess.run(command, capture_output=True, text=True, check=False)
    times = [line for line in answered.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.split("|")[-1].strip().split(".")[0] for line in times}
    said = [line for line in answered.stderr.splitlines() if line not in times]

    assert answered.returncode == 0, "\n".join(said)
    assert "argparse" in imported or "launch" in script.name
    first_line = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n")[0]
    assert first_line, "no docstring"
    assert first_line in answered.stdout + "\n".join(said)
    assert not imported & HEAVY


def name_of(path: Path) -> str:
    """The room of the library that a file lies in."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def library_imports(path: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of each import from it, wherever in the code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "astarpo":
            dotted = [f"astarpo.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            dotted = [node.module or ""]
        else:
            continue
        for name in dotted:
            parts = name.split(".")
            if parts[0] == "astarpo" and len(parts) > 1:
                yield parts[1], node.lineno


def test_every_module_lies_in_a_room() -> None:
    rooms = {name_of(path) for path in MODULES} - {"__init__"}
    assert rooms == set(ROOMS)


def test_modules_import_only_from_the_rooms_above_theirs() -> None:
    against = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in MODULES
        for imported, line in library_imports(path)
        if name_of(path) in ROOMS and ROOMS.index(imported) > ROOMS.index(name_of(path))
    ]
    assert not against, "\n".join(against)


def public_definitions(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes of a file, and the public methods of those classes."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)


def test_every_public_name_has_a_docstring() -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in public_definitions(path)
        if not ast.get_docstring(node)
    ]
    missing += [
        str(path.relative_to(ROOT))
        for path in MODULES
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not missing, "no docstring:\n" + "\n".join(missing)
