"""Configurations for tests: the embedded default with some values changed, and what a mistake in one says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from astarpo.common.code import Chosen
from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.runs import Config
from astarpo.config.stages.stage import Inputs
from astarpo.config.stages.table import find_stage

RUN = "runs__a_dash_star_dash_po"
DEFAULT = yaml.safe_load((Path(__file__).parent.parent / "config" / "config.yaml").read_text())


def changed(**paths: Any) -> dict[str, Any]:
    """The default configuration with values set at dotted paths (written with ``__``)."""
    config = copy.deepcopy(DEFAULT)
    for path, value in paths.items():
        *parents, last = [part.replace("_dash_", "-") for part in path.split("__")]
        place = config
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def message(config: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        load_config(config)
    return str(caught.value)


def settings(config: Config, rule: str, **wildcards: str) -> str:
    """The JSON that a rule's job is given."""
    return find_stage(rule).settings_json(config, wildcards)


def inputs(config: Config, rule: str, **wildcards: str) -> Inputs:
    return find_stage(rule).inputs(config, wildcards)


def modules(config: Config, rule: str, **wildcards: str) -> Chosen:
    return find_stage(rule).modules(config, wildcards)


def packages(config: Config, rule: str, **wildcards: str) -> tuple[str, ...]:
    return find_stage(rule).packages(config, wildcards)


def with_run(**keys: Any) -> dict[str, Any]:
    """The default configuration with its one run replaced by one of another method."""
    raw = copy.deepcopy(DEFAULT)
    base = raw["runs"].pop("a-star-po")
    kept = {key: base[key] for key in base if key not in ("value", "value_scale", "beta2", "method")}
    raw["runs"]["mine"] = {**kept, **keys}
    return raw
