"""Draw histograms of the reference's pass rates and of V*."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.columns import VALUES
from astarpo.common.files import read_table


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--values", required=True, help="parquet file made by estimate_values")
    parser.add_argument("--out-png", required=True, help="the figure as a picture")
    parser.add_argument("--out-pdf", required=True, help="the figure for print")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)

    from astarpo.figures import pass_rates
    from astarpo.figures.style import save

    figure = pass_rates.draw(read_table(arguments.values, VALUES), settings)
    save(figure, arguments.out_png, arguments.out_pdf, settings["dpi"])


if __name__ == "__main__":
    cli.run(main)
