"""The command line of prepare_dataset and prepare_benchmark."""

from __future__ import annotations

from pathlib import Path

from astarpo.common import cli


def prepare_task(script: str, description: str | None) -> None:
    """Prepare a data set or a benchmark: read, check and filter rows, render prompts, write a card.

    Args:
        script: the calling script's ``__file__``.
        description: its docstring.
    """
    parser = cli.parser(description)
    parser.add_argument("--source", nargs="+", default=[], help="local files named in the settings, if any")
    parser.add_argument("--benchmark", nargs="+", default=[], help="parquet files whose problems are excluded")
    parser.add_argument("--out", required=True, help="parquet file, one row per problem")
    parser.add_argument("--out-card", required=True, help="JSON: rows in, kept, dropped by reason, example")
    arguments = parser.parse_args()
    from astarpo.common.columns import DATASET
    from astarpo.common.files import read_table, write_json, write_table
    from astarpo.common.provenance import provenance
    from astarpo.data.datasets import prepare
    from astarpo.data.golds import gold_warnings
    from astarpo.data.settings import DatasetSettings

    settings = DatasetSettings.from_json(arguments.settings)
    inputs = {
        **cli.one_or_numbered("source", arguments.source),
        **cli.numbered("benchmark", arguments.benchmark),
    }
    made_from = provenance(script, arguments.settings, inputs)
    benchmarks = {Path(path).stem: read_table(path, DATASET)["problem"].to_pylist() for path in arguments.benchmark}
    rows, card = prepare(settings, Path(arguments.out).stem, benchmarks)
    write_table(arguments.out, rows, DATASET, {"provenance": made_from})
    write_json(arguments.out_card, {**card, "provenance": made_from})
    print(f"{card['rows_kept']} of {card['rows_in']} rows kept; dropped: {card['rows_dropped'] or 'none'}")
    for line in gold_warnings(card):
        print(line, flush=True)
