"""Show what every training reached on its validation prompts, learning rates side by side: for choosing one."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import write_text


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_page_options(parser, "a row for each training and validation step")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.common.frames import csv_text
    from astarpo.tables import markdown_tables, read_plan, tables_page
    from astarpo.tables.validation import difference_tables, rate_table, validation_table

    trainings = read_plan(arguments.plan, settings["plan_sha256"])["runs"]
    validation = validation_table(trainings)
    shown = [rate_table(validation), *difference_tables(validation, trainings)]
    write_text(arguments.out_csv, csv_text(validation))
    write_text(arguments.out_markdown, markdown_tables(shown))
    write_text(arguments.out_html, tables_page("Validation", shown))
    print(markdown_tables(shown), end="")


if __name__ == "__main__":
    cli.run(main)
