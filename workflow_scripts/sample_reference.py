"""Draw one block of stage 1: some samples of the reference policy for a share of the prompts."""

from __future__ import annotations

import time

from astarpo.common import cli
from astarpo.common.columns import DATASET, GENERATIONS
from astarpo.common.files import read_table, write_json, write_table
from astarpo.common.provenance import manifest, provenance
from astarpo.common.seeds import derive_seed, shard_of


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", required=True, metavar="JSON", help="machine settings")
    parser.add_argument("--reference", required=True, help="the reference's manifest.json")
    parser.add_argument("--dataset", required=True, help="parquet file of prompts")
    parser.add_argument("--block", required=True, help="s<sample block>-p<prompt shard>")
    parser.add_argument("--out", required=True, help="parquet file, one row per response")
    parser.add_argument("--out-manifest", required=True, help="JSON: settings, inputs, seconds, tokens")
    parser.add_argument("--scratch", help="folder of finished responses, until all are (default: OUT.parts)")
    arguments = parser.parse_args()
    sample_block, shard = cli.parse_block(arguments.block)

    from astarpo.common.machine import MachineSettings
    from astarpo.common.parts import Parts
    from astarpo.common.stopping import stopped_by_signals
    from astarpo.model.files import described_folder, trusts_remote_code
    from astarpo.sampling.settings import SampleReferenceSettings, how_to_sample
    from astarpo.sampling.stage import kept_responses, sample_rows

    settings = SampleReferenceSettings.from_json(arguments.settings)
    machine = MachineSettings.from_json(arguments.machine, "--machine")

    started = time.monotonic()
    inputs = {"reference": arguments.reference, "dataset": arguments.dataset}
    made_from = provenance(__file__, arguments.settings, inputs)
    sampling = settings.sampling
    first = sample_block * sampling.block_size
    rows = read_table(arguments.dataset, DATASET).to_pylist()
    parts = Parts(arguments.scratch or f"{arguments.out}.parts", made_from, GENERATIONS)
    with stopped_by_signals(lambda: kept_responses(parts.rows)), parts:
        drawn = sample_rows(
            described_folder(arguments.reference),
            [row for row in rows if shard_of(row["prompt_id"], sampling.prompt_shards) == shard],
            range(first, first + sampling.block_size),
            lambda prompt_id, index: derive_seed(sampling.base_seed, "stage 1", prompt_id, index),
            how_to_sample(sampling),
            settings,
            machine,
            f"sample block {arguments.block}",
            parts,
            trusts_remote_code(arguments.reference),
        )
    write_table(arguments.out, drawn, GENERATIONS, {"provenance": made_from})
    write_json(
        arguments.out_manifest,
        manifest(
            made_from,
            {"generations": arguments.out},
            parts.found_s + time.monotonic() - started,
            responses=len(drawn),
            generated_tokens=sum(row["n_tokens"] for row in drawn),
        ),
    )
    parts.remove()


if __name__ == "__main__":
    cli.run(main)
