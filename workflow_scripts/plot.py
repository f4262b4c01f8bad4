"""Plot one figure, of the kind that its settings name, as PNG and PDF."""

from __future__ import annotations

from astarpo.common import cli


def main() -> None:
    parser = cli.parser(__doc__)
    for table in ("summary", "cost", "curves"):
        parser.add_argument(f"--{table}", help="parquet file written by summarize")
    parser.add_argument("--kept-steps", help="parquet file written by show_kept_steps")
    parser.add_argument("--values", help="parquet file written by estimate_values")
    parser.add_argument("--forecast", help="parquet file written by forecast_noise")
    parser.add_argument("--out-png", required=True, help="the figure for the screen")
    parser.add_argument("--out-pdf", required=True, help="the figure for print")
    arguments = parser.parse_args()

    from astarpo.figures.plotting import plot
    from astarpo.figures.settings import read_settings
    from astarpo.figures.style import save

    settings = read_settings(arguments.settings)
    names = ("summary", "cost", "curves", "kept_steps", "values", "forecast")
    paths = {name: getattr(arguments, name) for name in names}
    figure = plot(settings, {name: path for name, path in paths.items() if path is not None})
    save(figure, arguments.out_png, arguments.out_pdf, settings.dpi)


if __name__ == "__main__":
    cli.run(main)
