"""Compare the runs of a finished results folder again: scores, differences and validation, without Snakemake.

Reads FOLDER/tables/plan.json, which the workflow left there, and the answers, grades and metrics that it names; runs
nothing again and changes nothing in FOLDER. Of use for results that older code made. What the files were made
from is not checked, as `summarize` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from astarpo.common import cli
from astarpo.common.columns import DIFFERENCES, SUMMARY
from astarpo.common.errors import InputError
from astarpo.common.files import read_json, write_text

FILES = ("generations", "graded", "metrics")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results", metavar="FOLDER", help="all results")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the tables go")
    arguments = parser.parse_args()
    folder, out = Path(arguments.results), Path(arguments.out)
    path = folder / "tables" / "plan.json"
    if not path.is_file():
        raise InputError(f"{path}: no such file; --results must name a folder that Snakemake filled")

    from astarpo import tables
    from astarpo.tables.validation import difference_table, rate_table, validation_rows

    plan: dict[str, Any] = read_json(path)
    evaluations = [_found(entry, folder) for entry in plan["evaluations"]]
    scores = tables.score_policies(plan["policies"], evaluations)
    summary = tables.summarize_scores(plan["policies"], scores)
    differences = tables.differences(plan["policies"], scores, plan["runs"])
    shown = tables.main_tables(summary, differences=differences, marks=tables.rank_runs(summary, differences))
    looks = [row for run in plan["runs"] for row in validation_rows(_found(run, folder))]
    if looks:
        shown += filter(None, [rate_table(looks), difference_table(looks, plan["runs"])])
    write_text(out / "summary.csv", tables.csv_text(summary, SUMMARY.names))
    write_text(out / "differences.csv", tables.csv_text(differences, DIFFERENCES.names))
    write_text(out / "main.md", tables.markdown_table(shown))
    print(tables.markdown_table(shown), end="")


def _found(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """An entry of the plan, whose files begin with ``results/``, with files in the folder that was given."""
    return entry | {name: str(folder / Path(entry[name]).relative_to("results")) for name in FILES if name in entry}


if __name__ == "__main__":
    cli.run(main)
