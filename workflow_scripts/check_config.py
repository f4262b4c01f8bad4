"""Check configuration files: YAML syntax, keys, values and references, with the file and line of each error.

Of models whose config.json is at hand also whether vLLM can share them among GPUs as configured, and whether they have
the layers that LoRA should adapt.
Several files are merged as by Snakemake's --configfile, later ones over earlier ones.
"""

from __future__ import annotations

import argparse

from astarpo.common import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="configuration files, as given to --configfile")
    files = parser.parse_args().files

    from astarpo.common.errors import InputError
    from astarpo.config import load_config
    from astarpo.config.files import merged
    from astarpo.config.positions import with_positions
    from astarpo.planning.adapters import target_problems
    from astarpo.planning.positions import position_problems
    from astarpo.planning.sharing import sharing_problems

    config = load_config(merged(files), files)
    problems = [*sharing_problems(config), *target_problems(config), *position_problems(config)]
    if problems:
        raise InputError("\n".join(with_positions(problems, files)))
    counts = {"runs": len(config.runs), "data sets": len(config.datasets), "benchmarks": len(config.benchmarks)}
    print(f"valid ({', '.join(f'{name}: {count}' for name, count in counts.items())})")


if __name__ == "__main__":
    cli.run(main)
