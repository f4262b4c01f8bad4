"""Say what this machine has, or what a configuration would take on a machine, before anything runs.

Without files: driver, cards, packages, compiler, hub, disk and RAM. With configuration files, merged as by Snakemake's
--configfile: memory, time and disk of each kind of job, computed and not measured, and what will not fit.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from astarpo.common import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="configuration files, as given to --configfile")
    parser.add_argument("--machine", metavar="NAME", help="a machine that is not this one, such as 8xH100")
    arguments = parser.parse_args()

    from astarpo.common.errors import InputError
    from astarpo.planning.cards import named_machine

    machine = named_machine(arguments.machine) if arguments.machine else None
    if not arguments.files:
        if machine is not None:
            raise InputError(
                f"MACHINE = {arguments.machine!r}: needs a configuration to compute for: make doctor "
                f"MACHINE={arguments.machine} CONFIG=config/recipes/..."
            )
        from astarpo.planning.this_machine import findings

        for finding in findings(Path.cwd()):
            print(finding)
        return

    from astarpo.config import load_config
    from astarpo.config.files import merged
    from astarpo.config.run_checks import own_sampler_problems
    from astarpo.planning.adapters import target_problems
    from astarpo.planning.plan import plan
    from astarpo.planning.positions import position_problems
    from astarpo.planning.this_machine import lacking, this_machine

    config = load_config(merged(arguments.files), arguments.files)
    made = plan(config, machine or this_machine(Path.cwd()))
    refused = [*own_sampler_problems(config, config.runs), *target_problems(config), *position_problems(config)]
    problems = [*made.problems, *refused, *([] if machine else lacking(config))]
    print("\n".join(made.lines))
    print(
        "\n".join(["\nDoes not fit or is missing:", *(f"- {one}" for one in problems)] if problems else ["\nIt fits."])
    )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `make doctor | head`
    cli.run(main)
