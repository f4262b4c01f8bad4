"""The positions of keys in the configuration files, and whether the files are valid YAML without repeated keys."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

from astarpo.common.errors import InputError

DEEPEST = 50  # levels of lists and mappings
UNKNOWN_KEY = re.compile(r"unknown key '([^']*)'")


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuse files that are not valid YAML in UTF-8 or that Python cannot hold, and repeated keys in a mapping.

    Args:
        paths: configuration files; missing ones are ignored here.

    Raises:
        InputError: naming the file, the line and what is wrong.
    """
    for path in paths:
        if not Path(path).is_file():
            continue
        root = _compose(path)
        for node, problem in _unreadable(root, set(), set()):
            raise InputError(f"{_shown(path)}:{_line(node)}: {problem}")
        for first, again in _repeated(root):
            raise InputError(
                f"{_shown(path)}:{_line(again)}: the key '{again.value}' is repeated; its first value, in "
                f"line {_line(first)}, would be lost"
            )


def with_positions(errors: Sequence[str], paths: Sequence[str | Path]) -> list[str]:
    """Prefix errors that begin with a key with file and line.

    Args:
        errors: messages such as ``runs.mine.lr = -1: must be above 0``.
        paths: the configuration files, in merge order.

    Returns:
        The messages, prefixed by e.g. ``my.yaml:12: `` if a file has the key or a parent of it. Of several files, the
        last one with the longest match counts, because its value does.
    """
    roots = [(path, _compose(path)) for path in paths if Path(path).is_file()]
    return [_position(roots, error) + error for error in errors]


def _position(roots: list[tuple[str | Path, yaml.Node | None]], error: str) -> str:
    keys = re.split(r" = |: ", error, maxsplit=1)[0].split(".")
    unknown = UNKNOWN_KEY.search(error)
    if unknown:
        keys.append(unknown.group(1))
    best, position = 0, ""
    for path, root in roots:
        depth, node = _deepest(root, keys)
        if depth and depth >= best:
            best, position = depth, f"{_shown(path)}:{_line(node)}: "
    return position


def _deepest(node: yaml.Node | None, keys: list[str]) -> tuple[int, yaml.Node | None]:
    """Return how many of the nested keys a file has, and the node of the last one."""
    depth, last = 0, None
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            last = node = node.value[int(key)]
        elif isinstance(node, yaml.MappingNode):
            entry = _entry(node, key)
            if entry is None:
                break
            last, node = entry
        else:
            break
        depth += 1
    return depth, last


def _entry(mapping: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the entry with this name, or the sweep that it comes from, whose name is a prefix."""
    entries = {str(key.value): (key, value) for key, value in mapping.value}
    sweeps = [key for key in entries if name.startswith(f"{key}-")]
    return entries.get(name) or (entries[max(sweeps, key=len)] if sweeps else None)


def _compose(path: str | Path) -> yaml.Node | None:
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    text = _text(path)
    try:
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        raise InputError(_describe(path, text, error)) from None
    except yaml.YAMLError as error:
        raise InputError(f"{_shown(path)}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{_shown(path)}: nested more than {DEEPEST} levels deep; no setting needs that") from None


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]
        line = before.count(b"\n") + 1
        raise InputError(
            f"{_shown(path)}:{line}: byte {len(before) + 1} of the file, 0x{byte:02x}, is not UTF-8 ({error.reason}); "
            "save the file in UTF-8"
        ) from None


def _describe(path: str | Path, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = text.split("\n")[mark.line] if mark.line < text.count("\n") + 1 else ""
    problem = error.problem or error.context
    if "\t" in line[: len(line) - len(line.lstrip())]:
        problem = "YAML does not allow tabs for indentation; use spaces"
    context = ""
    if error.context_mark and error.context_mark.line != mark.line:
        context = f" ({error.context}, which begins in line {error.context_mark.line + 1})"
    return f"{_shown(path)}:{mark.line + 1}: not valid YAML: {problem}{context}"


def _unreadable(node: yaml.Node | None, above: set[int], done: set[int]) -> Iterator[tuple[yaml.Node, str]]:
    """Yield nodes that cannot become a value, and why: integers of too many digits, nodes that contain themselves."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":int") and len(node.value) > sys.get_int_max_str_digits():
            yield node, f"an integer of {len(node.value)} characters, which is too long; no setting needs that"
    elif isinstance(node, yaml.CollectionNode):
        if id(node) in above:
            yield node, "this list or mapping contains itself, by an alias (`*`); remove the alias"
        elif len(above) == DEEPEST:
            yield node, f"nested more than {DEEPEST} levels deep; no setting needs that"
        elif id(node) not in done:
            done.add(id(node))
            pairs = isinstance(node, yaml.MappingNode)
            for below in itertools.chain.from_iterable(node.value) if pairs else node.value:
                yield from _unreadable(below, above | {id(node)}, done)


def _repeated(root: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.ScalarNode]]:
    """Yield pairs of nodes with the same key in one mapping."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
            continue
        keys: dict[str, yaml.ScalarNode] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in keys:
                    yield keys[key.value], key
                keys[key.value] = key
            waiting.append(value)


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _shown(path: str | Path) -> str:
    """Return the path relative to the working directory, if it is inside."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
