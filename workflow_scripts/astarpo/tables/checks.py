"""Whether results are those of this configuration: their recorded settings, inputs and code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from astarpo.common.code import Code, read_code
from astarpo.common.differences import differing, flat_settings
from astarpo.common.errors import InputError
from astarpo.common.files import read_json, sha256
from astarpo.common.provenance import content_sha256, read_provenance

PROVENANCE_COLUMNS = (
    "file",
    "rule",
    "code_sha256",
    "current_code_sha256",
    "code_changed",
    "changed_modules",
    "commit",
    "hardware",
    "versions",
)
ABSENT = "nothing"


def check_manifest(
    path: str | Path, expected_settings: str, actual_inputs: Mapping[str, str], rule: str
) -> dict[str, Any]:
    """Refuse a result that was made with other settings, or from other inputs, than are there now.

    Args:
        path: a manifest or a parquet file that carries its provenance.
        expected_settings: the settings JSON that the configuration now gives the rule.
        actual_inputs: name -> sha256 of what is there now.
        rule: the rule that makes the file, for the way out.

    Returns:
        The provenance that was found.

    Raises:
        InputError: names the file, what differs with both values, and the way out.
    """
    found = read_provenance(path)
    way_out = f"Run `snakemake -R {rule}`, or delete this file and run `snakemake` again."
    if "settings" not in found or "inputs" not in found:
        raise InputError(f"{path}: carries no record of what it was made from. {way_out}")
    problems = []
    settings = _differences(flat_settings(found["settings"]), flat_settings(expected_settings), str)
    if settings:
        problems.append(f"other settings than the configuration now says: {settings}")
    inputs = _differences(found["inputs"], actual_inputs, lambda digest: f"sha256 {digest[:12]}")
    if inputs:
        problems.append(f"other inputs than are there now: {inputs}")
    if problems:
        raise InputError(f"{path}: made with {'; and with '.join(problems)}. {way_out}")
    return found


def read_plan(path: str | Path, plan_sha256: str) -> dict[str, Any]:
    """Read what the tables are to be made of.

    Args:
        path: the JSON that Snakemake writes when it starts.
        plan_sha256: of the plan that belongs to this configuration.

    Raises:
        InputError: the file is of another configuration, kept from an earlier run.
    """
    plan: dict[str, Any] = read_json(path)
    if sha256(path) != plan_sha256:
        raise InputError(
            f"{path} is not the plan of this configuration; Snakemake writes it when it starts: run "
            "`snakemake` again, without --no-hooks"
        )
    return plan


def _differences(recorded: Mapping[str, str], now: Mapping[str, str], show: Callable[[str], str]) -> str:
    """List the names whose values differ, with both values; empty where none does."""

    def shown(values: Mapping[str, str], name: str) -> str:
        return show(values[name]) if name in values else ABSENT

    return ", ".join(
        f"{name} was {shown(recorded, name)} and is {shown(now, name)}" for name in differing(recorded, now)
    )


def check_results(expected: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check every result, and say which were made by other code than the present one.

    Args:
        expected: ``file``, ``rule``, ``settings`` (JSON text), ``inputs`` (name -> file) and ``chosen`` (optional
            modules that the rule's job uses, see `astarpo.common.code`) of each result.

    Returns:
        Rows with `PROVENANCE_COLUMNS`; other code is no error, as most edits change no number.

    Raises:
        InputError: one line for each result that `check_manifest` refuses.
    """
    digest = cache(content_sha256)
    rows, refused = [], []
    for entry in expected:
        try:
            now = {name: _digest(digest, entry, path) for name, path in entry["inputs"].items()}
            found = check_manifest(entry["file"], entry["settings"], now, entry["rule"])
        except InputError as error:
            refused.append(str(error))
            continue
        rows.append(_provenance_row(entry, found, read_code(entry["rule"], tuple(entry["chosen"]))))
    if refused:
        raise InputError("\n".join(["some results do not belong to this configuration:", *refused]))
    return rows


def _digest(digest: Callable[[str], str], entry: Mapping[str, Any], path: str) -> str:
    try:
        return digest(path)
    except FileNotFoundError as error:
        raise InputError(f"{entry['file']}: its input {path} is gone; run `snakemake` to make it again") from error


def _provenance_row(entry: Mapping[str, Any], found: Mapping[str, Any], current: Code) -> dict[str, Any]:
    versions = found.get("versions")
    recorded: Mapping[str, str] | None = found.get("modules")
    return {
        "file": entry["file"],
        "rule": entry["rule"],
        "code_sha256": found.get("code"),
        "current_code_sha256": current.sha256,
        "code_changed": found.get("code") != current.sha256,
        "changed_modules": "" if recorded is None else " ".join(differing(recorded, current.modules)),
        "commit": found.get("commit"),
        "hardware": found.get("hardware"),
        "versions": None if versions is None else json.dumps(versions, sort_keys=True),
    }
