"""The command line of prepare_dataset and prepare_benchmark."""

from __future__ import annotations

from pathlib import Path

from astarpo import cli
from astarpo.columns import DATASET
from astarpo.datasets import prepare
from astarpo.files import write_json, write_table
from astarpo.provenance import provenance


def prepare_task(script: str, description: str | None) -> None:
    """Prepare a data set or a benchmark: read, check and filter rows, render prompts, write a card.

    Args:
        script: the calling script's ``__file__``.
        description: its docstring.
    """
    parser = cli.parser(description)
    parser.add_argument(
        "--source", help="the local data file that the settings name, if they name one"
    )
    parser.add_argument("--out", required=True, help="parquet file, a row a problem")
    parser.add_argument(
        "--out-card", required=True, help="JSON: rows in, kept, dropped by reason, example"
    )
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)
    inputs = {} if arguments.source is None else {"source": arguments.source}
    made_from = provenance(script, arguments.settings, inputs)
    rows, card = prepare(settings, Path(arguments.out).stem)
    write_table(arguments.out, rows, DATASET, {"provenance": made_from})
    write_json(arguments.out_card, {**card, "provenance": made_from})
    print(
        f"{card['rows_kept']} of {card['rows_in']} rows kept; dropped: {card['rows_dropped'] or 'none'}"
    )
