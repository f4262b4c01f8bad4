"""The configuration's documentation, generated from its types."""

from __future__ import annotations

import json
from typing import Any

from astarpo.common.kinds import LARGEST_SEED
from astarpo.common.settings import Section
from astarpo.config.methods import Run
from astarpo.config.runs import Config
from astarpo.config.schema import TaskEntry
from astarpo.figures.settings import Figure

INTRODUCTION = """# Configuration

All keys of the configuration. This page and [`schema.json`](schema.json), which editors can use, are generated from the
types in `workflow_scripts/astarpo/` by `python config/document.py`; a test keeps them up to date. For how to set up
data, models and runs, see [docs/configuration.md](../docs/configuration.md).

`config.yaml` is the default. A file given with `--configfile` replaces it; to change only some of its keys, give both:
`snakemake --cores 2 --configfile config/config.yaml my-changes.yaml`. Mappings are merged; lists and single values are
replaced.

Entries have names (`[a-z0-9][a-z0-9-]*`, at most 100 characters), by which they refer to one another; the names also
appear in the paths under `results/`. Unknown keys, wrong types, values out of bounds and names without an entry are
refused before any job starts, with file and line. The order of keys does not matter. Numbers must be finite; `1e-3` is
a number.

A run or an estimate of V* may also have:

* `base: NAME`, to inherit all keys of another entry (an entry whose name begins with `_` serves only as a base);
* `grid: {key: [value, ...], ...}`, to become one entry per combination of values, named after them: `sweep` with
  `grid: {beta2: [1e-4, 1e-3]}` becomes `sweep-1e-4` and `sweep-1e-3`.

After an edit, only stages that read the edited key run again. Changes of `machine` never make a stage run again.
"""
# Types whose keys several sections share; they are printed once.
SHARED: tuple[type[Section], ...] = (TaskEntry, Run, Figure)
Schema = dict[str, Any]  # part of a JSON schema, with any values


def schema_json() -> str:
    """Return the JSON schema (draft 2020-12) of an expanded configuration."""
    return json.dumps(Config.model_json_schema(), indent=2, sort_keys=True) + "\n"


def readme() -> str:
    """Return the text of config/README.md: a table per section, in the order in which sections are mentioned."""
    schema = Config.model_json_schema()
    sections = [INTRODUCTION, "## Sections\n\n" + _table(schema)]
    shared = {kind.__name__: base for base in SHARED for kind in _descendants(base)}
    printed: set[type[Section]] = set()
    for name in _in_order(schema):
        section, base = schema["$defs"][name], shared.get(name)
        if base is not None and base not in printed:
            printed.add(base)
            sections.append(_section(base.__name__, base.model_json_schema()))
        sections.append(_section(name, section, base))
    return "\n".join(sections)


def _descendants(base: type[Section]) -> list[type[Section]]:
    """List the types that inherit the keys of a type, directly or not."""
    return [one for kind in base.__subclasses__() for one in (kind, *_descendants(kind))]


def _section(name: str, section: Schema, base: type[Section] | None = None) -> str:
    """Format a section: heading, description, and its keys without those inherited from ``base``."""
    text = section.get("description", "").strip()
    if base is not None:
        text += f"\n\nBesides the keys of [{base.__name__}](#{base.__name__.lower()}):"
        section = _without_shared(section, base.model_json_schema())
    return f"## {name}\n\n{text}\n\n{_table(section)}"


def _without_shared(section: Schema, base: Schema) -> Schema:
    """Keep only the keys that the base lacks, or that differ from the base in meaning, default or bounds."""
    required, required_in_base = set(section.get("required", [])), set(base.get("required", []))
    fields = {
        key: field
        for key, field in section["properties"].items()
        if base["properties"].get(key) != field or (key in required) != (key in required_in_base)
    }
    return {**section, "properties": fields}


def _in_order(schema: Schema) -> list[str]:
    """List sections in the order in which the tables mention them."""
    names: list[str] = []
    waiting = [schema]
    while waiting:
        section = waiting.pop(0)
        for field in section.get("properties", {}).values():
            for name in _mentioned(field):
                if name not in names:
                    names.append(name)
                    waiting.append(schema["$defs"][name])
    return names


def _mentioned(field: object) -> list[str]:
    if isinstance(field, dict):
        direct = [field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else []
        return direct + [name for key, value in field.items() if key != "discriminator" for name in _mentioned(value)]
    return [name for item in field for name in _mentioned(item)] if isinstance(field, list) else []


def _table(section: Schema) -> str:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    required = section.get("required", [])
    for key, field in section.get("properties", {}).items():
        default = "**required**" if key in required else f"`{_default(field.get('default'))}`"
        meaning = field.get("description", "selects this kind" if "const" in field else "")
        rows.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def _default(value: object) -> str:
    return "{}" if isinstance(value, dict) else json.dumps(value)


def _type(field: Schema) -> str:
    """Describe the allowed values in words."""
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
        return f"mapping of names to {_type(values)}{least}" if isinstance(values, dict) else "mapping"
    return _plain_type(field)


def _plain_type(field: Schema) -> str:
    words = {
        "number": "number",
        "integer": "whole number",
        "string": "string",
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
