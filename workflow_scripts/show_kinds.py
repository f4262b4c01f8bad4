"""Show the scores of every policy by kind of problem."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import write_text


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_page_options(parser, "a row for each policy, kind and metric")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.common.frames import csv_text
    from astarpo.tables import markdown_tables, read_plan, score_policies, tables_page
    from astarpo.tables.kinds import kind_tables, kinds_table, read_kinds

    plan = read_plan(arguments.plan, settings["plan_sha256"])
    scores = score_policies(plan["policies"], plan["evaluations"])
    table = kinds_table(plan["policies"], scores, read_kinds(plan["evaluations"]))
    shown = kind_tables(table)
    write_text(arguments.out_csv, csv_text(table))
    write_text(arguments.out_markdown, markdown_tables(shown))
    write_text(arguments.out_html, tables_page("Scores by kind of problem", shown))
    print(markdown_tables(shown), end="")


if __name__ == "__main__":
    cli.run(main)
