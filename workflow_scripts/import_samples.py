"""Import one block of stage 1 from samples that were drawn elsewhere; no model is loaded."""

from __future__ import annotations

import time

from astarpo.common import cli


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--source", nargs="+", default=[], help="the local files of samples that the settings name")
    parser.add_argument("--dataset", required=True, help="parquet file of prompts")
    parser.add_argument("--block", required=True, help="s<sample block>-p<prompt shard>")
    parser.add_argument("--out", required=True, help="parquet file, one row per response")
    parser.add_argument("--out-manifest", required=True, help="JSON: settings, inputs, counts")
    arguments = parser.parse_args()
    from astarpo.common.columns import DATASET, IMPORTED
    from astarpo.common.files import read_table, write_json, write_table
    from astarpo.common.provenance import manifest, provenance
    from astarpo.common.seeds import shard_of
    from astarpo.sampling.imported import import_rows
    from astarpo.sampling.settings import ImportSettings

    settings = ImportSettings.from_json(arguments.settings)
    sample_block, shard = cli.parse_block(arguments.block)

    started = time.monotonic()
    inputs = {"dataset": arguments.dataset, **cli.one_or_numbered("source", arguments.source)}
    made_from = provenance(__file__, arguments.settings, inputs)
    sampling = settings.sampling
    first = sample_block * sampling.block_size
    all_rows, counts = import_rows(
        settings.samples,
        read_table(arguments.dataset, DATASET).to_pylist(),
        range(first, first + sampling.block_size),
    )
    rows = [row for row in all_rows if shard_of(row["prompt_id"], sampling.prompt_shards) == shard]
    imported = {"source": settings.samples.source.model_dump(), **counts}
    write_table(arguments.out, rows, IMPORTED, {"provenance": made_from, "imported": imported})
    write_json(
        arguments.out_manifest,
        manifest(
            made_from,
            {"generations": arguments.out},
            time.monotonic() - started,
            responses=len(rows),
            imported=imported,
        ),
    )
    print("imported:", ", ".join(f"{value} {key}" for key, value in counts.items()))


if __name__ == "__main__":
    cli.run(main)
