"""Check configuration files: YAML syntax, keys, values and references, with the file and line of each error.

Several files are merged as by Snakemake's --configfile, later ones over earlier ones.
"""

from __future__ import annotations

import argparse
from typing import Any

from astarpo.common import cli
from astarpo.common.errors import InputError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="configuration files, as given to --configfile")
    files = parser.parse_args().files

    from astarpo.config import load_config

    config = load_config(merged(files), files)
    counts = {"runs": len(config.runs), "data sets": len(config.datasets), "benchmarks": len(config.benchmarks)}
    print(f"valid ({', '.join(f'{name}: {count}' for name, count in counts.items())})")


def merged(files: list[str]) -> dict[str, Any]:
    """Read files and merge their mappings, key by key."""
    import yaml
    from snakemake.utils import update_config

    from astarpo.config.positions import check_files

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


if __name__ == "__main__":
    cli.run(main)
