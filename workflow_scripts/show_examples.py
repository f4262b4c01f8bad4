"""Show some responses of every policy with prompt, gold answer, extracted answer and status, as a web page."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import write_text
from astarpo.common.progress import Progress


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--plan", required=True, help="JSON: the evaluations and their files")
    parser.add_argument("--out", required=True, help="HTML")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.tables import read_plan
    from astarpo.tables.examples import Section, choose_examples, examples_page

    evaluations = read_plan(arguments.plan, settings["plan_sha256"])["evaluations"]

    sections = []
    with Progress("read", len(evaluations), "evaluations") as progress:
        for entry in evaluations:
            chosen = choose_examples(entry["graded"], entry["generations"], entry["problems"])
            sections.append(Section(entry["policy"], entry["benchmark"], entry["protocol"], chosen))
            progress.advance(1)
    write_text(arguments.out, examples_page(sections))


if __name__ == "__main__":
    cli.run(main)
