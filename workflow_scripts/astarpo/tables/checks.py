"""Checks that results belong to this configuration, by their recorded settings, inputs and code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from astarpo.common.code import Code, read_code
from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.common.frames import frame
from astarpo.common.provenance import content_sha256, read_provenance
from astarpo.tables.plan import Expected

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE = pa.schema(
    [
        ("file", pa.string()),
        ("rule", pa.string()),
        ("code_sha256", pa.string()),
        ("current_code_sha256", pa.string()),
        ("code_changed", pa.bool_()),
        ("changed_modules", pa.string()),
        ("commit", pa.string()),
        ("hardware", pa.string()),
        ("versions", pa.string()),
    ]
)
ABSENT = "nothing"


def check_manifest(
    path: str | Path, expected_settings: str, actual_inputs: Mapping[str, str], rule: str
) -> dict[str, Any]:
    """Refuse a result made with settings or inputs other than the current ones.

    Args:
        path: a manifest, or a parquet file with provenance.
        expected_settings: the settings JSON that the rule gets from the current configuration.
        actual_inputs: name -> sha256 of the current inputs.
        rule: the rule that makes the file, named in the message.

    Returns:
        The recorded provenance.

    Raises:
        InputError: names the file, each difference with both values, and what to do.
    """
    recorded = read_provenance(path)
    way_out = f"Run `snakemake -R {rule}`, or delete this file and run `snakemake` again."
    if "settings" not in recorded or "inputs" not in recorded:
        raise InputError(f"{path}: has no record of what it was made from. {way_out}")
    problems = []
    settings = _differences(flat_settings(recorded["settings"]), flat_settings(expected_settings), str)
    if settings:
        problems.append(f"settings other than those of the configuration: {settings}")
    inputs = _differences(recorded["inputs"], actual_inputs, lambda digest: f"sha256 {digest[:12]}")
    if inputs:
        problems.append(f"inputs other than the current ones: {inputs}")
    if problems:
        raise InputError(f"{path}: made with {'; and with '.join(problems)}. {way_out}")
    return recorded


def _differences(recorded: Mapping[str, str], now: Mapping[str, str], show: Callable[[str], str]) -> str:
    """List the names whose values differ, with both values; empty if none differ."""

    def shown(values: Mapping[str, str], name: str) -> str:
        return show(values[name]) if name in values else ABSENT

    return ", ".join(
        f"{name} was {shown(recorded, name)} and is {shown(now, name)}" for name in differing(recorded, now)
    )


def check_results(expected: Iterable[Expected]) -> pd.DataFrame:
    """Check every result, and report which were made by code other than the current one.

    Args:
        expected: what each result must have been made from.

    Returns:
        A table with the columns of `PROVENANCE`; different code is not an error, as most edits change no numbers.

    Raises:
        InputError: `check_manifest` refuses a result; the message names all, and their reasons are printed.
    """
    digest = cache(content_sha256)
    rows: list[dict[str, object]] = []
    refused: dict[str, str] = {}
    for entry in expected:
        try:
            now = {name: _digest(digest, entry, path) for name, path in entry["inputs"].items()}
            recorded = check_manifest(entry["file"], entry["settings"], now, entry["rule"])
        except InputError as error:
            refused[entry["file"]] = str(error)
            continue
        rows.append(_provenance_row(entry, recorded, read_code(entry["rule"], tuple(entry["chosen"]))))
    if refused:
        # All reasons are in the log; the error, which Snakemake shows, is one line.
        print("\n".join(refused.values()), flush=True)
        first, *others = refused
        more = f" The log says what is wrong with {len(others)} more: {', '.join(others)}." if others else ""
        raise InputError(f"results do not belong to this configuration: {refused[first]}{more}")
    return frame(rows, PROVENANCE)


def _digest(digest: Callable[[str], str], entry: Expected, path: str) -> str:
    try:
        return digest(path)
    except FileNotFoundError as error:
        raise InputError(f"{entry['file']}: its input {path} is gone; run `snakemake` to make it again") from error


def _provenance_row(entry: Expected, recorded: Mapping[str, Any], current: Code) -> dict[str, object]:
    versions = recorded.get("versions")
    recorded_modules: Mapping[str, str] | None = recorded.get("modules")
    return {
        "file": entry["file"],
        "rule": entry["rule"],
        "code_sha256": recorded.get("code"),
        "current_code_sha256": current.sha256,
        "code_changed": recorded.get("code") != current.sha256,
        "changed_modules": "" if recorded_modules is None else " ".join(differing(recorded_modules, current.modules)),
        "commit": recorded.get("commit"),
        "hardware": recorded.get("hardware"),
        "versions": None if versions is None else json.dumps(versions, sort_keys=True),
    }
