"""Say in words what Snakemake would run and why, one line per job or group of jobs; nothing is run.

python workflow_scripts/plan.py [TARGET...] [OPTION of snakemake...]
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from astarpo.common import cli
from astarpo.common.errors import InputError
from astarpo.reruns.dry_run import read_jobs
from astarpo.reruns.words import describe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    _, options = parser.parse_known_args()
    # Last, as --quiet takes all following words; with `host`, jobs and their reasons are still printed.
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", *options, "--quiet", "host"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(f"snakemake --dry-run failed:\n{done.stdout}{done.stderr}".rstrip())
    jobs = read_jobs(done.stdout + done.stderr)
    for line in describe(jobs):
        print(line)
    for line in done.stderr.splitlines() + done.stdout.splitlines():
        if "missing provenance/metadata" in line:
            print(f"note: {line.strip()} (were results/ copied without .snakemake/?)")
    print(f"{len(jobs)} jobs would run." if jobs else "Nothing would run: all results are up to date.")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `make plan | head`
    cli.run(main)
