"""The imports of a Python file, and a hash that ignores comments, formatting, docstrings and help texts.

The hash is the same under every version of Python that runs the workflow, as a job in another environment compares it
with the one that Snakemake's Python computed.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
HELP_TEXTS = {"Field": ("description",), "add_argument": ("help",), "ArgumentParser": ("description", "epilog")}


@dataclass
class Syntax:
    """A parsed file.

    Attributes:
        imports: dotted names of its imports, ``from a import b`` as both ``a`` and ``a.b``; relative ones begin with
            their dots.
        tables: the rows, name -> module, of each `astarpo.common.choices.Choices` written with literals.
        texts: the syntax tree, serialised; an index into ``tables`` stands for each table.
    """

    imports: list[str] = field(default_factory=list)
    tables: list[dict[str, str]] = field(default_factory=list)
    texts: list[str | int] = field(default_factory=list)

    def sha256(self, keep_row: Callable[[str], bool]) -> str:
        """Hash the syntax tree, with only those rows of tables whose module is kept."""
        digest = hashlib.sha256()
        for text in self.texts:
            if isinstance(text, int):
                text = ascii(sorted(row for row in self.tables[text].items() if keep_row(row[1])))
            digest.update(text.encode())
        return digest.hexdigest()


def read_syntax(path: Path) -> Syntax:
    """Parse a file."""
    syntax = Syntax()
    _write(ast.parse(path.read_text(encoding="utf-8")), syntax)
    syntax.texts = _joined(syntax.texts)
    return syntax


def _joined(texts: list[str | int]) -> list[str | int]:
    """One text between two tables, as a file is hashed anew for every script that imports it."""
    joined: list[list[str] | int] = []
    for text in texts:
        if isinstance(text, str) and joined and isinstance(joined[-1], list):
            joined[-1].append(text)
        else:
            joined.append([text] if isinstance(text, str) else text)
    return ["".join(text) if isinstance(text, list) else text for text in joined]


def _write(node: object, syntax: Syntax) -> None:
    """Add a node: its type and its fields by name, except empty ones, which some versions of Python lack."""
    if isinstance(node, ast.Constant):
        syntax.texts.append(f"{type(node.value).__name__} {node.value!a};")
    elif isinstance(node, ast.AST):
        syntax.texts.append(f"{type(node).__name__}(")
        table = None
        if isinstance(node, ast.Call):
            table = _choices(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            syntax.imports += _imported(node)
        if table is not None:
            syntax.texts.append(len(syntax.tables))
            syntax.tables.append(table)
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                value = value[1:] if table is not None and name == "args" else _without_help(node, name, value)
            if value or (value is not None and not isinstance(value, list)):
                _write_field(name, value, syntax)
        syntax.texts.append(")")
    else:
        syntax.texts.append(f"{node!a};")


def _write_field(name: str, value: object, syntax: Syntax) -> None:
    if name in IGNORED_FIELDS:
        return
    syntax.texts.append(f"{name}=")
    for item in value if isinstance(value, list) else [value]:
        _write(item, syntax)
        syntax.texts.append(",")


def _without_help(node: ast.AST, name: str, values: list[object]) -> list[object]:
    """The items of a field without docstrings, descriptions of settings and help texts of options."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty texts to some
        return [item for item in values if not (isinstance(item, ast.Constant) and item.value == "")]
    if name == "body":
        return [item for item in values if not _is_text(item)]
    if isinstance(node, ast.Call) and name == "keywords" and values:
        function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        help_texts = HELP_TEXTS.get(function, ())
        return [item for item in values if not (isinstance(item, ast.keyword) and item.arg in help_texts)]
    return values


def _is_text(statement: object) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = "." * node.level + (node.module or "")
    return [module, *(f"{module}.{alias.name}" if node.module else module + alias.name for alias in node.names)]


def _choices(node: ast.Call) -> dict[str, str] | None:
    """The rows of ``Choices({name: module, ...}, ...)``; None for other calls, or if it is not a literal."""
    table = node.args[0] if node.args else None
    if not (isinstance(node.func, ast.Name) and node.func.id == "Choices" and isinstance(table, ast.Dict)):
        return None
    rows = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(value, ast.Constant)):
            return None
        rows[str(key.value)] = str(value.value)
    return rows
