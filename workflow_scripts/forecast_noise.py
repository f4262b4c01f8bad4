"""Forecast the gradient noise that each baseline would cause in training, from stage 1's samples alone."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.columns import FORECAST
from astarpo.common.files import write_table, write_text
from astarpo.common.provenance import provenance
from astarpo.stage_one.command import add_sample_options, sample_inputs


def main() -> None:
    parser = cli.parser(__doc__)
    add_sample_options(parser)
    parser.add_argument("--name", required=True, help="of the estimate, for the title")
    parser.add_argument("--out", required=True, help="parquet file, one row per baseline")
    parser.add_argument("--out-csv", required=True, help="the same as CSV")
    parser.add_argument("--out-html", required=True, help="the same as a web page")
    arguments = parser.parse_args()

    from astarpo.common.frames import csv_text, frame
    from astarpo.stage_one.counts import count_correct
    from astarpo.stage_one.noise import NO_FORECAST, forecasts
    from astarpo.stage_one.settings import ValueSettings
    from astarpo.stage_one.surprisals import read_samples
    from astarpo.tables import tables_page
    from astarpo.tables.forecast import forecast_tables

    settings = ValueSettings.from_json(arguments.settings)
    made_from = provenance(__file__, arguments.settings, sample_inputs(arguments))
    prompt_ids, _, _ = count_correct(arguments.graded, settings.n, settings.first_sample)
    samples = read_samples(arguments.graded, arguments.generations, settings.n, prompt_ids, settings.first_sample)
    rows = [] if samples is None else [vars(one) for one in forecasts(samples, settings.beta1)]
    table = frame(rows, FORECAST)
    shown = forecast_tables(table, arguments.name)
    write_table(arguments.out, rows, FORECAST, {"provenance": made_from})
    write_text(arguments.out_csv, csv_text(table))
    write_text(arguments.out_html, tables_page("Forecast of gradient noise", shown))
    print(f"noise of {len(rows)} baselines" if rows else NO_FORECAST["all"])


if __name__ == "__main__":
    cli.run(main)
