"""Draw accuracy and distance from the reference against the value of a setting."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.columns import COST, SUMMARY
from astarpo.common.files import read_table


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--summary", required=True, help="parquet file made by summarize")
    parser.add_argument("--cost", required=True, help="parquet file made by summarize")
    parser.add_argument("--out-png", required=True, help="the figure as a picture")
    parser.add_argument("--out-pdf", required=True, help="the figure for print")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.figures import ablation
    from astarpo.figures.style import save

    figure = ablation.draw(read_table(arguments.summary, SUMMARY), read_table(arguments.cost, COST), settings)
    save(figure, arguments.out_png, arguments.out_pdf, settings["dpi"])


if __name__ == "__main__":
    cli.run(main)
