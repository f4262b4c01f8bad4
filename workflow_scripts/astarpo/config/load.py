"""Read a configuration: expand sweeps, check types, check references between entries; report all errors at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from astarpo.common.errors import InputError
from astarpo.config.checks import reference_errors
from astarpo.config.grids import expand
from astarpo.config.methods import METHOD_RUNS
from astarpo.config.positions import check_files, with_positions
from astarpo.config.runs import Config

CHANGES = "with_"  # how the names of recipes begin that change another one
MOST_SHOWN = 20  # errors; a sweep may have the same error in every run
LONGEST_SHOWN = 60  # characters of a value
TAGS = {
    "arithmetic",
    "chain_sum",
    "countdown",
    "local",
    "hub",
    "scratch",
    "package",
    "training_curves",
    "accuracy",
    "values",
    "forecast",
    "time",
    "training_time",
    "tradeoff",
    "ablation",
    *METHOD_RUNS,
}
REMOVED = {"bootstrap": "removed, because intervals are computed without resampling; delete this key"}
# For errors that pydantic describes in Python terms, or at length.
WORDINGS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} items",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must be a name: lower-case letters, digits and '-', with a letter or digit first",
}


def load_config(raw: Mapping[str, object], files: Sequence[str | Path] = ()) -> Config:
    """Turn the parsed YAML into a checked configuration.

    Args:
        raw: the merged configuration files.
        files: these files, so that errors can name the line.

    Returns:
        Typed settings, sweeps expanded.

    Raises:
        InputError: one message with all errors, one line each: file and line, key, value, what is allowed.
    """
    check_files(files)
    plain = _sorted(raw)
    removed = [f"{key}: {reason}" for key, reason in REMOVED.items() if key in plain]
    if removed:
        raise InputError(_message(removed, files))
    _drop_nulls_of_sources(plain)
    for registry in ("runs", "values"):
        entries = plain.get(registry, {})
        if not isinstance(entries, dict):
            raise InputError(f"{registry} must be a mapping of names to entries, but is {entries!r}")
        try:
            plain[registry] = expand(entries, registry)
        except InputError as error:
            raise InputError(with_positions([str(error)], files)[0]) from None
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        raise InputError(_message([_describe(detail) for detail in _causes(error)], files)) from None
    errors = reference_errors(config)
    if errors:
        raise InputError(_message(errors, files))
    return config


def with_typed(config: Mapping[str, object], given: Mapping[str, object] | None) -> dict[str, object]:
    """Parse the values of ``--config`` as YAML; Snakemake keeps nested numbers, true and null as strings.

    Args:
        config: the merged configuration.
        given: the values of ``--config``, already merged.
    """
    merged = dict(config)
    for key, value in (given or {}).items():
        before = config.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = with_typed(before, value)
        else:
            merged[key] = _typed(value)
    return merged


def _typed(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) and value else value


def _sorted(mapping: Mapping[str, object]) -> dict[str, object]:
    """Copy mappings with sorted keys, because their order in the file must not matter."""
    return {key: _with_sorted_mappings(mapping[key]) for key in sorted(mapping, key=str)}


def _with_sorted_mappings(value: object) -> object:
    if isinstance(value, Mapping):
        return _sorted(value)
    return [_with_sorted_mappings(item) for item in value] if isinstance(value, list) else value


def _drop_nulls_of_sources(plain: dict[str, object]) -> None:
    """Remove null keys from every ``source``.

    Files are merged key by key, so a file that replaces one kind of source by another must be able to remove the
    first kind's keys.
    """
    for registry in ("datasets", "benchmarks", "references"):
        entries = plain.get(registry)
        for entry in entries.values() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("source"), dict):
                source = entry["source"]
                entry["source"] = {key: source[key] for key in source if source[key] is not None}


def _message(errors: list[str], files: Sequence[str | Path]) -> str:
    count = f"{len(errors)} errors" if len(errors) > 1 else "an error"
    shown = [f"  {error}" for error in with_positions(errors[:MOST_SHOWN], files)]
    if len(errors) > MOST_SHOWN:
        shown.append(f"  ... and {len(errors) - MOST_SHOWN} more")
    names = [Path(file).name for file in files]
    if names and all(name.startswith(CHANGES) for name in names):  # alone it looks complete
        shown.append(f"  {names[0]} only changes another file; give that one before it, such as config/config.yaml")
    return f"the configuration has {count}:\n" + "\n".join(shown)


def _causes(error: ValidationError) -> list[ErrorDetails]:
    """Drop errors of pydantic that follow from others: a list whose only item is wrong is not too short."""
    details = error.errors()
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(other is not detail and other["loc"][: len(detail["loc"])] == detail["loc"] for other in details)
    ]


def _describe(detail: ErrorDetails) -> str:
    location = detail["loc"]
    keys = [key for index, key in enumerate(location) if not _is_inserted(location, index)]
    key = ".".join(map(str, keys)) or "the configuration"
    kind = detail["type"]
    if kind.startswith("union_tag"):  # the kind or method of an entry
        context = detail["ctx"]
        tag = f"{key}.{context['discriminator'].strip(chr(39))}"
        if kind == "union_tag_not_found":
            return f"{tag}: this key is required"
        return f"{tag} = '{context['tag']}': must be one of {context['expected_tags']}"
    if kind == "unknown_key":
        return f"{key}: {detail['msg']}"
    if kind == "missing":
        item = isinstance(location[-1], int)
        return f"{key}: {'this item of the list' if item else 'this key'} is required"
    if location[-1] == "[key]":  # a name is wrong
        quotes = "; put it in quotes" if kind == "string_type" else ""
        return f"{key}: {_words(detail)}{quotes}"
    return f"{key} = {_shown(detail['input'])}: {_words(detail)}"


def _words(detail: ErrorDetails) -> str:
    wording = WORDINGS.get(detail["type"])
    if wording is not None:
        context = detail.get("ctx", {})
        return wording.format(**{key: f"{x:g}" if isinstance(x, float) else x for key, x in context.items()})
    text: str = detail["msg"].replace("Input should be", "must be")
    return f"{text[0].lower()}{text[1:]}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # `Section` converts lists
        value = list(value)
    text = repr(value)
    if len(text) < LONGEST_SHOWN:
        return text
    return "this mapping" if isinstance(value, (dict, list)) else f"{text[: LONGEST_SHOWN - 3]}..."


def _is_inserted(location: tuple[int | str, ...], index: int) -> bool:
    """Whether pydantic inserted an item into the path: the branch of a union, or a mark."""
    if index == 0:
        return False
    item, parent = location[index], location[index - 1]
    if item in TAGS and (parent == "source" or index == 2):
        return True
    return item == "[key]" or (parent in ("path", "targets") and not isinstance(item, int))
