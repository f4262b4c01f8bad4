"""Sweeps: runs with ``base`` and ``grid`` become plain runs, one per grid point."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from astarpo.common.errors import InputError

Entry = dict[str, object]


def expand(entries: Mapping[str, object], registry: str) -> Entry:
    """Expand every run (or estimate of V*) that has ``base`` or ``grid``; a grid becomes one entry per point.

    ``sweep: {base: a, grid: {beta2: [1e-4, 1e-3]}}`` becomes ``sweep-1e-4`` and ``sweep-1e-3``, each with all
    keys of ``a``. A run used as a base remains a run, unless its name begins with ``_``. With several keys in a
    grid, the name has the values in the order of the keys.

    Args:
        entries: name -> entry, as read from YAML.
        registry: ``runs`` or ``values``, for messages.

    Returns:
        name -> entry without ``base`` and ``grid``, in the order given.

    Raises:
        InputError: an unknown or circular base, a malformed grid, or two runs that expand to one name.
    """
    expanded: Entry = {}
    for name in entries:
        if not isinstance(name, str):
            raise InputError(f"{registry}.{name}: must be a string; put it in quotes")
        if name.startswith("_"):
            continue
        entry = _with_base(name, entries, registry, ())
        grid = entry.pop("grid", None)
        points = [(name, {})] if grid is None else _points(f"{registry}.{name}", name, grid)
        for full_name, changes in points:
            if full_name in expanded:
                raise InputError(
                    f"{registry}: two entries expand to the name '{full_name}'; rename '{name}' or its grid"
                )
            expanded[full_name] = {**entry, **changes}
    return expanded


def _with_base(name: str, entries: Mapping[str, object], registry: str, seen: tuple[str, ...]) -> Entry:
    entry = entries[name]
    if not isinstance(entry, Mapping):
        raise InputError(f"{registry}.{name} must be a mapping of keys, but is {entry!r}")
    keys = dict(entry)
    base = keys.pop("base", None)
    if base is None:
        return keys
    if base in (*seen, name):
        raise InputError(f"{registry}.{name}.base: '{base}' leads back to itself")
    if not isinstance(base, str) or base not in entries:
        raise InputError(f"{registry}.{name}.base: there is no entry '{base}'; there are {', '.join(entries)}")
    inherited = _with_base(base, entries, registry, (*seen, name))
    inherited.pop("grid", None)
    return {**inherited, **keys}


def _points(key: str, name: str, grid: object) -> list[tuple[str, Entry]]:
    """Return all combinations of a grid's values with their names."""
    if not isinstance(grid, Mapping) or not grid:
        raise InputError(f"{key}.grid must map keys to lists of values, but is {grid!r}")
    for varied, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{key}.grid.{varied} must be a list of values, but is {values!r}")
    for varied, values in grid.items():
        for value in values:
            _check_nameable(f"{key}.grid.{varied}", value)
    return [
        ("-".join([name, *map(value_name, combination)]), dict(zip(grid, combination, strict=True)))
        for combination in itertools.product(*grid.values())
    ]


def _check_nameable(key: str, value: object) -> None:
    try:
        value_name(value)
    except InputError as error:
        raise InputError(f"{key}: {error}") from None


def value_name(value: object) -> str:
    """Spell a value for use in a name: 0.001 and 1e-3 are ``1e-3``, 0.5 is ``0p5``.

    Raises:
        InputError: the value cannot be used in a name.
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    if not isinstance(value, str | int | float):
        raise InputError(f"a grid takes numbers, strings, true, false and null, but not {value!r}")
    try:
        number = float(value)
    except ValueError:
        return str(value).replace("_", "-").lower()
    if number != 0 and abs(number) < 0.01:
        mantissa, exponent = f"{number:.6e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace(".", "p")
    return f"{number:.7g}".replace("e+", "e").replace(".", "p").replace("-", "m")
