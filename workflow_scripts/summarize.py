"""Summarize results: scores with intervals, training curves, costs, and the provenance of each result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from astarpo.common import cli
from astarpo.common.columns import COST, CROSSINGS, CURVES, DIFFERENCES, SUMMARY
from astarpo.common.files import write_text
from astarpo.common.provenance import provenance

if TYPE_CHECKING:
    from astarpo.tables.plan import TablesPlan


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--plan", required=True, help="JSON: policies, evaluations, runs, expected")
    parser.add_argument("--paper", required=True, help="CSV: the paper's main table")
    for table in ("summary", "differences", "curves", "crossings", "cost"):
        parser.add_argument(f"--out-{table}", required=True, help="CSV file")
        parser.add_argument(f"--out-{table}-parquet", required=True, help="the same table")
    parser.add_argument("--out-markdown", required=True, help="main results as a Markdown table")
    parser.add_argument("--out-latex", required=True, help="main results as a LaTeX table")
    parser.add_argument("--out-main-csv", required=True, help="main results as CSV")
    parser.add_argument("--out-html", required=True, help="main results as a web page")
    parser.add_argument("--out-terminal", required=True, help="main results as plain text")
    parser.add_argument("--out-provenance", required=True, help="CSV: what each result was made with")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo import tables
    from astarpo.common.frames import csv_text, write_frame

    plan = tables.read_plan(arguments.plan, settings["plan_sha256"])
    trainings = plan["runs"]
    checked = tables.check_results(plan["expected"])
    made_from = provenance(__file__, arguments.settings, {"plan": arguments.plan, **dict(_inputs(plan))})
    scores = tables.score_policies(plan["policies"], plan["evaluations"])
    summary = tables.summarize_scores(plan["policies"], scores)
    differences = tables.differences(plan["policies"], scores, trainings)
    cost, curves = tables.cost_table(trainings), tables.curve_table(trainings)
    crossings = tables.crossing_table(trainings, curves)
    for name, table, schema in (
        ("summary", summary, SUMMARY),
        ("differences", differences, DIFFERENCES),
        ("curves", curves, CURVES),
        ("crossings", crossings, CROSSINGS),
        ("cost", cost, COST),
    ):
        parquet, csv = getattr(arguments, f"out_{name}_parquet"), getattr(arguments, f"out_{name}")
        write_frame(parquet, csv, table, schema, {"provenance": made_from})
    marks = tables.rank_runs(summary, differences)
    main_tables = tables.main_tables(summary, cost, differences, marks)
    others = (
        tables.endings_table(cost),
        tables.terms_table(trainings, cost, curves),
        tables.race_table(trainings, crossings),
        tables.ratio_table(cost, tables.read_paper(arguments.paper)),
    )
    shown_tables = [*main_tables, *filter(None, others)]
    write_text(arguments.out_markdown, tables.markdown_tables(shown_tables))
    write_text(arguments.out_latex, tables.latex_table(summary, cost, marks))
    write_text(arguments.out_html, tables.tables_page("Main results", shown_tables))
    write_text(arguments.out_main_csv, csv_text(main_tables[0].plain()))
    write_text(arguments.out_provenance, csv_text(checked))
    changed = checked[checked["code_changed"]]
    if len(changed):
        modules = sorted({module for named in changed["changed_modules"] for module in named.split()})
        print(
            f"results made by other code: {len(changed)} ({', '.join(modules) or 'which was not recorded'}), "
            f"see {arguments.out_provenance}"
        )
    shown = tables.terminal_table(summary) + "\n"
    write_text(arguments.out_terminal, shown)
    print(shown, end="")


def _inputs(plan: TablesPlan) -> Iterator[tuple[str, str]]:
    """Every file that the tables are made from, named by its path."""
    for entry in plan["evaluations"]:
        yield from ((path, path) for path in (entry["generations"], entry["graded"]))
    for run in plan["runs"]:
        paths = [run["metrics"], run["timings"], run["manifest"], *run["stage1"]]
        yield from ((path, path) for path in paths)


if __name__ == "__main__":
    cli.run(main)
