"""Read a configuration: expand sweeps, check types, check what refers to what; all errors at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from astarpo.config.checks import reference_errors
from astarpo.config.grids import expand
from astarpo.config.methods import METHOD_RUNS
from astarpo.config.runs import Config
from astarpo.errors import InputError

MOST_SHOWN = 20  # a sweep can have a mistake in each of its runs
TAGS = {
    "chain_sum",
    "countdown",
    "local",
    "hub",
    "scratch",
    "training_curves",
    "accuracy",
    "values",
    "time",
    "training_time",
    "tradeoff",
    "ablation",
    *METHOD_RUNS,
}


def load_config(raw: Mapping[str, Any]) -> Config:
    """Turn what YAML gave into a checked configuration.

    Args:
        raw: the merged configuration files.

    Returns:
        Typed settings, sweeps expanded.

    Raises:
        InputError: one message with every error found, a line each: key, value, what is allowed.
    """
    plain = _sorted(raw)
    _drop_nulls_of_sources(plain)
    for registry in ("runs", "values"):
        entries = plain.get(registry, {})
        if not isinstance(entries, dict):
            raise InputError(
                f"{registry} must be a mapping of names to entries, but is {entries!r}"
            )
        plain[registry] = expand(entries, registry)
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        raise InputError(_message([_describe(detail) for detail in error.errors()])) from None
    errors = reference_errors(config)
    if errors:
        raise InputError(_message(errors))
    return config


def _sorted(value: Any) -> Any:
    """Copy mappings with their keys in alphabetical order: another order in the file must change nothing."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value, key=str)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _drop_nulls_of_sources(plain: dict[str, Any]) -> None:
    """Take keys that are null out of every ``source``.

    Files are merged key by key, so a file that puts one kind of source in place of another must be able to
    take the other kind's keys away.
    """
    for registry in ("datasets", "benchmarks", "references"):
        entries = plain.get(registry)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("source"), dict):
                source = entry["source"]
                entry["source"] = {key: source[key] for key in source if source[key] is not None}


def _message(errors: list[str]) -> str:
    count = f"{len(errors)} errors" if len(errors) > 1 else "an error"
    shown = [f"  {error}" for error in errors[:MOST_SHOWN]]
    if len(errors) > MOST_SHOWN:
        shown.append(f"  ... and {len(errors) - MOST_SHOWN} more")
    return f"the configuration has {count}:\n" + "\n".join(shown)


def _describe(detail: Any) -> str:
    location = detail["loc"]
    path = [
        part for index, part in enumerate(location) if index == 0 or not _is_tag(location, index)
    ]
    key = ".".join(str(part) for part in path) or "the configuration"
    text = detail["msg"]
    if detail["type"].startswith("union_tag"):  # which kind or method an entry is
        context = detail["ctx"]
        which = f"{key}.{context['discriminator'].strip(chr(39))}"
        if detail["type"] == "union_tag_not_found":
            return f"{which}: this key is required"
        return f"{which} = '{context['tag']}': must be one of {context['expected_tags']}"
    if detail["type"] in ("unknown_key", "missing"):
        return f"{key}: {text if detail['type'] == 'unknown_key' else 'this key is required'}"
    value = detail["input"]
    shown = (
        repr(value)
        if not isinstance(value, (dict, list)) or len(repr(value)) < 60
        else "this mapping"
    )
    return f"{key} = {shown}: {text[0].lower()}{text[1:]}"


def _is_tag(location: tuple[Any, ...], index: int) -> bool:
    """Pydantic puts the chosen kind of a union into the path; people did not write it there."""
    after_name = location[index - 1] == "source" or index == 2
    return after_name and location[index] in TAGS
