"""Reading configuration files as Snakemake does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from astarpo.common.errors import InputError
from astarpo.config.positions import check_files


def merged(files: Sequence[str]) -> dict[str, Any]:
    """Read files and merge their mappings, key by key, later ones over earlier ones.

    Args:
        files: YAML, as given to Snakemake's ``--configfile``.

    Raises:
        InputError: a file cannot be read or is no mapping.
    """
    import yaml
    from snakemake.utils import update_config

    check_files(files)
    config: dict[str, Any] = {}
    for path in files:
        try:
            with open(path, encoding="utf-8") as file:
                read = yaml.safe_load(file)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        if not isinstance(read, dict):
            raise InputError(f"{path}: must be a mapping of sections, such as `datasets:` and `runs:`")
        update_config(config, read)
    return config
