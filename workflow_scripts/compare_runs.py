"""Compare the runs of a finished results folder again: scores, differences, validation, crossings; without Snakemake.

Reads FOLDER/tables/plan.json, which the workflow wrote, and the answers, grades, metrics and timings that it lists.
Nothing runs again and nothing in FOLDER is changed. This is useful for results of older code. Unlike `summarize`, it
does not check what the files were made from.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from astarpo.common import cli
from astarpo.common.errors import InputError
from astarpo.common.files import write_text

if TYPE_CHECKING:
    from astarpo.tables.plan import Evaluation, Training


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
    from astarpo.common.frames import csv_text
    from astarpo.tables.validation import difference_table, rate_table, validation_table

    plan = tables.read_plan(path)

    def moved(file: str) -> str:
        """A file of the plan, which begins with ``results/``, in the folder that was given."""
        return str(folder / Path(file).relative_to("results"))

    trainings: list[Training] = [
        {**training, "metrics": moved(training["metrics"]), "timings": moved(training["timings"])}
        for training in plan["runs"]
    ]
    evaluations: list[Evaluation] = [
        {**entry, "generations": moved(entry["generations"]), "graded": moved(entry["graded"])}
        for entry in plan["evaluations"]
    ]
    scores = tables.score_policies(plan["policies"], evaluations)
    summary = tables.summarize_scores(plan["policies"], scores)
    differences = tables.differences(plan["policies"], scores, trainings)
    marks = tables.rank_runs(summary, differences)
    shown = tables.main_tables(summary, differences=differences, marks=marks)
    validation = validation_table(trainings)
    if len(validation):
        shown += filter(None, [rate_table(validation), difference_table(validation, trainings)])
    crossings = tables.crossing_table(trainings, tables.curve_table(trainings))
    shown += filter(None, [tables.race_table(trainings, crossings)])
    write_text(out / "summary.csv", csv_text(summary))
    write_text(out / "differences.csv", csv_text(differences))
    write_text(out / "crossings.csv", csv_text(crossings))
    write_text(out / "main.md", tables.markdown_tables(shown))
    print(tables.markdown_tables(shown), end="")


if __name__ == "__main__":
    cli.run(main)
