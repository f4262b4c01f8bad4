"""The configuration: from YAML to checked, typed settings, and from those to one JSON a stage."""

from astarpo.config.load import load_config, with_typed
from astarpo.config.plan import Plan

__all__ = ["Plan", "load_config", "with_typed"]
