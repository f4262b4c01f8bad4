"""Show the scores of the policies after kept steps: accuracy over steps, tokens and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from astarpo.common import cli
from astarpo.common.files import write_text
from astarpo.common.kept_steps import KEPT_STEPS
from astarpo.common.provenance import provenance

if TYPE_CHECKING:
    from astarpo.tables.kept_steps import PlanWithSteps


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_page_options(parser, "a row for each run, point, seed and metric")
    parser.add_argument("--out-parquet", required=True, help="the same table, for the figures")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.common.frames import write_frame
    from astarpo.tables import markdown_tables, read_plan, tables_page
    from astarpo.tables.kept_steps import kept_steps_table, plan_with_steps, shown_steps

    plan = plan_with_steps(read_plan(arguments.plan, settings["plan_sha256"]))
    made_from = provenance(__file__, arguments.settings, {"plan": arguments.plan, **dict(_inputs(plan))})
    table = kept_steps_table(plan)
    write_frame(arguments.out_parquet, arguments.out_csv, table, KEPT_STEPS, {"provenance": made_from})
    shown = shown_steps(table)
    write_text(arguments.out_markdown, markdown_tables(shown))
    write_text(arguments.out_html, tables_page("Accuracy over the training", shown))
    print(markdown_tables(shown), end="")


def _inputs(plan: PlanWithSteps) -> Iterator[tuple[str, str]]:
    """Every file that the table is made from, named by its path."""
    from astarpo.tables.kept_steps import evaluations_of, trainings_of

    paths = [kept["manifest"] for kept in plan["kept_steps"]]
    for training in trainings_of(plan):
        paths += [training["metrics"], training["timings"], training["manifest"]]
    for entry in evaluations_of(plan):
        paths += [entry["generations"], entry["graded"]]
    yield from ((path, path) for path in paths)


if __name__ == "__main__":
    cli.run(main)
