"""The configuration's documentation, made from its types."""

from __future__ import annotations

import json
from typing import Any

from astarpo.common.kinds import LARGEST_SEED
from astarpo.config.runs import Config

INTRODUCTION = """# Configuration

This file is made by `python config/document.py` from the types in `workflow_scripts/astarpo/config/` and in each
stage's `settings.py`; a test holds it to them. [`schema.json`](schema.json) is the same for editors.

`config.yaml` is the embedded default. A file given by `--configfile` is used in its place; to change a part of the
default only, give both: `snakemake --cores 2 --configfile config/config.yaml my-changes.yaml`. Mappings are merged,
lists and single values replaced.

Entries have names (`[a-z0-9][a-z0-9-]*`, at most 100 characters) and refer to one another by them; the names are also
those of the files under `results/`. Unknown keys, wrong types, values out of bounds and names that lead nowhere are
refused before any job starts. The order of keys means nothing. Numbers must be finite, and may be written `1e-3`.

A run, and an estimate of V*, may also have:

* `base: NAME`, to take over all keys of another entry, and change some (one whose name begins with `_` is a base only);
* `grid: {key: [value, ...], ...}`, to become one entry for each combination of values. They are named after those:
  `sweep` with `grid: {beta2: [1e-4, 1e-3]}` becomes `sweep-1e-4` and `sweep-1e-3`.

What an edit runs again follows from what each stage reads: `machine` is read by none, as far as Snakemake can tell.
"""


def schema_json() -> str:
    """The JSON schema (draft 2020-12) of an expanded configuration."""
    return json.dumps(Config.model_json_schema(), indent=2, sort_keys=True) + "\n"


def readme() -> str:
    """The text of config/README.md: a table for each section, in the order in which they are used."""
    schema = Config.model_json_schema()
    parts = [INTRODUCTION, "## The whole\n\n" + _table(schema)]
    for name in _in_order(schema):
        section = schema["$defs"][name]
        parts.append(f"## {name}\n\n{section.get('description', '').strip()}\n\n{_table(section)}")
    return "\n".join(parts)


def _in_order(schema: dict[str, Any]) -> list[str]:
    """Sections in the order in which the tables mention them."""
    found: list[str] = []
    waiting = [schema]
    while waiting:
        section = waiting.pop(0)
        for field in section.get("properties", {}).values():
            for name in _mentioned(field):
                if name not in found:
                    found.append(name)
                    waiting.append(schema["$defs"][name])
    return found


def _mentioned(field: Any) -> list[str]:
    if isinstance(field, dict):
        own = [field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else []
        return own + [name for key, value in field.items() if key != "discriminator" for name in _mentioned(value)]
    return [name for item in field for name in _mentioned(item)] if isinstance(field, list) else []


def _table(section: dict[str, Any]) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    required = section.get("required", [])
    for key, field in section.get("properties", {}).items():
        default = "**required**" if key in required else f"`{_default(field.get('default'))}`"
        meaning = field.get("description", "which of the kinds this is" if "const" in field else "")
        rows.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    return "{}" if isinstance(value, dict) else json.dumps(value)


def _type(field: dict[str, Any]) -> str:
    """Say in words what a value may be."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    for kinds in ("anyOf", "oneOf"):
        if kinds in field:
            return " or ".join(_type(option) for option in field[kinds])
    if field.get("type") == "array":
        items = field.get("prefixItems") or [field.get("items", {})]
        least = ", at least one" if field.get("minItems") == 1 else ""
        return f"list of {_type(items[0])}" + (f", {len(items)} of them" if len(items) > 1 else least)
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {"": {}}).values()))
        least = ", at least one" if field.get("minProperties") == 1 else ""
        return f"names to {_type(values)}{least}" if isinstance(values, dict) else "mapping"
    return _plain_type(field)


def _plain_type(field: dict[str, Any]) -> str:
    words = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    text = words.get(str(field.get("type")), "anything")
    if field.get("minLength") == 1:
        text += ", not empty"
    bounds = [
        f"{sign} {'2^63 - 1' if field[key] == LARGEST_SEED else format(field[key], 'g')}"
        for key, sign in (
            ("exclusiveMinimum", ">"),
            ("minimum", ">="),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if key in field
    ]
    if field.get("pattern"):
        return "name"
    return " ".join([text, " and ".join(bounds)]).strip()
