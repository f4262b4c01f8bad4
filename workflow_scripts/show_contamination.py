"""Show the problems that training sets share with benchmarks, as a table and as a page of the report."""

from __future__ import annotations

from astarpo.common import cli
from astarpo.common.files import read_json, write_text


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--reports", nargs="*", default=[], help="JSON files of check_contamination")
    parser.add_argument("--out-csv", required=True, help="CSV: counts, one row per pair of sets")
    parser.add_argument("--out-html", required=True, help="counts and problems, as a web page")
    arguments = parser.parse_args()
    cli.parse_settings(arguments.settings)

    from astarpo.common.frames import csv_text, frame
    from astarpo.tables.contamination import COLUMNS, contamination_page

    reports = [read_json(path) for path in arguments.reports]
    write_text(arguments.out_csv, csv_text(frame(reports, COLUMNS)))
    write_text(arguments.out_html, contamination_page(reports))


if __name__ == "__main__":
    cli.run(main)
