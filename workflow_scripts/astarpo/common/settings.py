"""The base type of all settings: validated when created, dumped to JSON by the workflow, read back by the script.

A setting is declared once, in the package of the stage that uses it. The configuration is composed of these types; a
stage's JSON is a dump of one of them, and the stage's script reads it back through the same type.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from astarpo.common.errors import InputError, shortened


class Section(BaseModel):
    """A mapping of settings: unknown keys are errors that name the nearest known key; numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        for key in value:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else "."
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key '{key}'{hint} Known here: {known}",
                    {"key": key, "hint": hint, "known": ", ".join(sorted(cls.model_fields))},
                )
        # Strict types do not accept a list for a tuple, and neither YAML nor JSON has tuples.
        return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}

    @classmethod
    def from_json(cls, text: str, option: str = "--settings") -> Self:
        """Read settings that `canonical_json` wrote.

        Args:
            text: a JSON object.
            option: the command-line option of the text, for messages.

        Raises:
            InputError: the text is not JSON, a key is missing or unknown, or a value is not allowed.
        """
        try:
            read = json.loads(text)
        except (ValueError, RecursionError) as error:  # numbers that are too long are a ValueError
            raise InputError(f"{option} is not a JSON object ({error}): {shortened(text)}") from error
        if not isinstance(read, dict):
            raise InputError(f"{option} is not a JSON object: {shortened(text)}")
        try:
            return cls(**read)
        except ValidationError as error:
            raise InputError(f"{option}: {'; '.join(_problems(error))}") from None

    def changed(self, **changes: Any) -> Self:
        """A copy with some keys changed, validated like any other settings."""
        return type(self)(**{**{key: getattr(self, key) for key in type(self).model_fields}, **changes})

    def only(self, keys: type[Section]) -> dict[str, Any]:
        """The values of the keys that another type declares, to create it from them."""
        return {key: getattr(self, key) for key in keys.model_fields}


def canonical_json(value: object) -> str:
    """Dump settings so that equal settings give equal texts: sorted keys, no spaces."""
    dumped = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(dumped, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _problems(error: ValidationError) -> list[str]:
    return [_problem(".".join(map(str, one["loc"])), one) for one in error.errors()]


def _problem(key: str, one: ErrorDetails) -> str:
    if one["type"] == "missing":
        return f"{key} is missing"
    if one["type"] == "unknown_key":
        return f"{key}: {one['msg']}" if key else str(one["msg"])
    return f"{key}: {one['msg']}; it is {shortened(one['input'])}"
