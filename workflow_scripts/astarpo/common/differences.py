"""Differences between two records of a job: settings, hashes of inputs and code, versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping


def flat_settings(text: str) -> dict[str, str]:
    """Flatten settings JSON to dotted key -> value as JSON, so that spaces and order do not matter."""
    try:
        return dict(_leaves("", json.loads(text)))
    except (ValueError, RecursionError):
        return {"settings": text}


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, below)
    else:
        yield prefix, json.dumps(value, sort_keys=True)


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names whose values differ between two mappings, including those that only one of them has."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
