"""Show what the first seed of each run answers to the same validation prompts before, during and after training."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import write_text


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_page_options(parser, "a row for each run, validation and kept response")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.common.frames import csv_text
    from astarpo.tables import markdown_tables, read_plan, tables_page
    from astarpo.tables.rollouts import before_and_after, rollouts_table

    trainings = read_plan(arguments.plan, settings["plan_sha256"])["runs"]
    table = rollouts_table(trainings)
    shown = before_and_after(table)
    write_text(arguments.out_csv, csv_text(table))
    write_text(arguments.out_markdown, markdown_tables(shown))
    write_text(arguments.out_html, tables_page("Before and after training", shown))


if __name__ == "__main__":
    cli.run(main)
