"""The configuration: from YAML to checked, typed settings, and from those to the inputs of each rule's jobs."""

from astarpo.config.load import load_config, with_typed

__all__ = ["load_config", "with_typed"]
