"""Show what every training reached on its validation prompts, learning rates side by side: what to choose one by."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import write_text


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--plan", required=True, help="JSON: the trainings and their files")
    parser.add_argument("--out-csv", required=True, help="CSV: a row a training and look")
    parser.add_argument("--out-markdown", required=True, help="the last looks as Markdown tables")
    parser.add_argument("--out-html", required=True, help="the same as a web page")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.tables.checks import read_plan
    from astarpo.tables.page import tables_page
    from astarpo.tables.text import markdown_table
    from astarpo.tables.validation import COLUMNS, difference_table, rate_table, validation_rows
    from astarpo.tables.writing import csv_text

    runs = read_plan(arguments.plan, settings["plan_sha256"])["runs"]
    rows = [row for run in runs for row in validation_rows(run)]
    shown = [rate_table(rows), *filter(None, [difference_table(rows, runs)])]
    write_text(arguments.out_csv, csv_text(rows, COLUMNS))
    write_text(arguments.out_markdown, markdown_table(shown))
    write_text(arguments.out_html, tables_page("Validation", shown))
    print(markdown_table(shown), end="")


if __name__ == "__main__":
    cli.run(main)
