"""Draw one block of stage 1: some samples of the reference policy for a share of the prompts."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from astarpo.common import cli
from astarpo.common.columns import DATASET, GENERATIONS
from astarpo.common.files import read_table, write_json, write_table
from astarpo.common.provenance import manifest
from astarpo.common.seeds import derive_seed, shard_of

if TYPE_CHECKING:
    from astarpo.common.machine import MachineSettings
    from astarpo.common.parts import Parts
    from astarpo.sampling.engines import OneStart
    from astarpo.sampling.settings import SampleReferenceSettings
    from astarpo.sampling.stage import GenerationRow
    from astarpo.sampling.tables import ResponseTable


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", required=True, metavar="JSON", help="machine settings")
    parser.add_argument("--reference", required=True, help="the reference's manifest.json")
    parser.add_argument("--dataset", required=True, help="parquet file of prompts")
    parser.add_argument("--block", required=True, help="s<sample block>-p<prompt shard>")
    parser.add_argument("--out", required=True, help="parquet file, one row per response")
    parser.add_argument("--out-manifest", required=True, help="JSON: settings, inputs, seconds, tokens")
    parser.add_argument("--scratch", help="folder of finished responses, until all are (default: OUT.parts)")
    parser.add_argument(
        "--others",
        default="[]",
        metavar="JSON",
        help="a list of {block, out, scratch}: blocks of the data set that other jobs need",
    )
    arguments = parser.parse_args()

    from astarpo.common.machine import MachineSettings
    from astarpo.sampling.engines import OneStart
    from astarpo.sampling.settings import SampleReferenceSettings
    from astarpo.sampling.tables import claimed, draw_ahead

    settings = SampleReferenceSettings.from_json(arguments.settings)
    machine = MachineSettings.from_json(arguments.machine, "--machine")
    started = time.monotonic()
    own = block(arguments, settings, machine)
    others = [Namespace(**{**vars(arguments), **one}) for one in json.loads(arguments.others)]
    more = [block(one, settings, machine) for one in others]
    start = OneStart(settings.prompting.max_prompt_tokens + settings.sampling.max_new_tokens)
    with claimed(own, more):
        drawn, parts = own.rows(start)
        write_table(arguments.out, drawn, GENERATIONS, {"provenance": own.made_from})
        write_json(
            arguments.out_manifest,
            manifest(
                own.made_from,
                {"generations": arguments.out},
                parts.found_s + time.monotonic() - started,
                responses=len(drawn),
                generated_tokens=sum(row["n_tokens"] for row in drawn),
            ),
        )
        draw_ahead(more, start, started)
        parts.remove()


def block(of: Namespace, settings: SampleReferenceSettings, machine: MachineSettings) -> ResponseTable:
    """The block that some options ask for.

    Args:
        of: ``reference``, ``dataset``, ``block``, ``settings``, ``out`` and ``scratch``, as on the command line.
        settings: the settings, read.
        machine: where it is drawn.
    """
    from astarpo.model.files import described_folder, trusts_remote_code
    from astarpo.sampling.settings import how_to_sample
    from astarpo.sampling.stage import sample_rows
    from astarpo.sampling.tables import ResponseTable

    sampling = settings.sampling
    sample_block, shard = cli.parse_block(of.block)
    first = sample_block * sampling.block_size

    def draw(parts: Parts, start: OneStart) -> list[GenerationRow]:
        rows = read_table(of.dataset, DATASET).to_pylist()
        return sample_rows(
            described_folder(of.reference),
            [row for row in rows if shard_of(row["prompt_id"], sampling.prompt_shards) == shard],
            range(first, first + sampling.block_size),
            lambda prompt_id, index: derive_seed(sampling.base_seed, "stage 1", prompt_id, index),
            how_to_sample(sampling),
            settings,
            machine,
            f"sample block {of.block}",
            parts,
            trusts_remote_code(of.reference),
            start,
        )

    inputs = {"reference": of.reference, "dataset": of.dataset}
    return ResponseTable(__file__, of.settings, inputs, of.out, of.scratch or f"{of.out}.parts", draw)


if __name__ == "__main__":
    cli.run(main)
