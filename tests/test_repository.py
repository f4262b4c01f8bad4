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

# A module imports only from rows above its own, and from its own row's entry itself.
LAYERS = (
    # What everything may use: no knowledge of the method.
    ("errors", "boxed", "closure", "columns", "progress", "seeds"),
    ("cli", "devices", "files"),
    ("lengths", "model_files"),
    ("provenance",),
    ("precision", "optimisation"),
    # The order in which data flows.
    ("config",),
    ("generators", "golds", "prompts"),
    ("contamination",),
    ("datasets",),
    ("references",),
    ("adapters",),
    ("sampling",),
    ("rewards",),
    ("counts",),
    ("selections", "values"),
    ("chunked",),
    ("logprobs",),
    ("objectives",),
    ("training",),
    ("intervals",),
    ("differences", "benchmarks"),
    ("figures",),
    ("tables",),
    # What several scripts have in common.
    ("commands",),
    # What no stage uses.
    ("watch",),
)

# Imports against that order, each with its reason.
EXCEPTIONS = {
    ("config", "objectives"): "what a method asks of its settings is said once, by the method",
    ("config", "rewards"): "a configuration names a verifier, and only those that exist",
    ("references", "logprobs"): "the warm start maximises log-probabilities of worked solutions",
    ("sampling", "logprobs"): "where a response ends is said once, for sampling and training",
}


def tracked_texts() -> list[Path]:
    """The text files of the repository: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
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
    first_line = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split(
        "\n"
    )[0]
    assert first_line, "no docstring"
    assert first_line in answered.stdout + "\n".join(said)
    assert not imported & HEAVY


def name_of(path: Path) -> str:
    """The part of the library that a file belongs to: its module, or the package at the top."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def library_imports(path: Path) -> Iterator[tuple[str, int]]:
    """(part of the library, line) of each import from it, wherever in the code."""
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


def test_every_module_has_a_place_in_the_layers() -> None:
    placed = [name for layer in LAYERS for name in layer]
    parts = {name_of(path) for path in MODULES} - {"__init__"}
    assert parts - set(placed) == set(), "give it a row in LAYERS"
    assert set(placed) - parts == set(), "no such module any more"
    assert len(placed) == len(set(placed))


def test_modules_import_only_from_the_layers_before_them() -> None:
    row_of = {name: row for row, layer in enumerate(LAYERS) for name in layer}
    against = {
        (name_of(path), imported): f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in MODULES
        for imported, line in library_imports(path)
        if imported != name_of(path) and row_of[imported] >= row_of[name_of(path)]
    }
    surprising = [where for pair, where in against.items() if pair not in EXCEPTIONS]
    assert not surprising, "\n".join(surprising)
    assert set(EXCEPTIONS) == set(against), "an exception that is needed no more"


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
