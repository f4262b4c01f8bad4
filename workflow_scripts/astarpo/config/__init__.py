"""The configuration: from YAML to checked, typed settings, and from those to what each rule's jobs are given."""

from astarpo.config.load import load_config, with_typed

__all__ = ["load_config", "with_typed"]
