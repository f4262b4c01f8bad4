"""Generate a policy's answers to a benchmark's problems by one protocol (greedy, sampled, ...)."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from astarpo.common import cli
from astarpo.common.columns import DATASET, GENERATIONS
from astarpo.common.files import read_table, write_table
from astarpo.common.seeds import derive_seed

if TYPE_CHECKING:
    from astarpo.common.machine import MachineSettings
    from astarpo.common.parts import Parts
    from astarpo.sampling.engines import OneStart
    from astarpo.sampling.settings import GenerateAnswersSettings
    from astarpo.sampling.stage import GenerationRow
    from astarpo.sampling.tables import ResponseTable


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", required=True, metavar="JSON", help="machine settings")
    parser.add_argument("--policy", required=True, help="manifest.json beside the policy's model folder")
    parser.add_argument("--benchmark", required=True, help="parquet file of problems")
    parser.add_argument("--out", required=True, help="parquet file, one row per answer")
    parser.add_argument("--scratch", help="folder of finished answers, until all are (default: OUT.parts)")
    parser.add_argument(
        "--others",
        default="[]",
        metavar="JSON",
        help="a list of {settings, benchmark, out, scratch}: answers of the policy that other jobs need",
    )
    arguments = parser.parse_args()

    from astarpo.common.machine import MachineSettings
    from astarpo.sampling.engines import OneStart
    from astarpo.sampling.settings import GenerateAnswersSettings
    from astarpo.sampling.tables import claimed, draw_ahead

    began_s = time.monotonic()
    machine = MachineSettings.from_json(arguments.machine, "--machine")
    others = [Namespace(policy=arguments.policy, **one) for one in json.loads(arguments.others)]
    settings = [GenerateAnswersSettings.from_json(one.settings) for one in (arguments, *others)]
    own, *more = (answers(*one, machine) for one in zip((arguments, *others), settings, strict=True))
    start = OneStart(max(one.prompting.max_prompt_tokens + one.protocol.max_new_tokens for one in settings))
    with claimed(own, more):
        drawn, parts = own.rows(start)
        write_table(arguments.out, drawn, GENERATIONS, {"provenance": own.made_from})
        draw_ahead(more, start, began_s)
        parts.remove()


def answers(of: Namespace, settings: GenerateAnswersSettings, machine: MachineSettings) -> ResponseTable:
    """The answers that some options ask for.

    Args:
        of: ``policy``, ``benchmark``, ``settings``, ``out`` and ``scratch``, as on the command line.
        settings: the settings, read.
        machine: where they are drawn.
    """
    from astarpo.model.files import described_folder, trusts_remote_code
    from astarpo.sampling.settings import how_to_sample
    from astarpo.sampling.stage import sample_rows
    from astarpo.sampling.tables import ResponseTable

    protocol = settings.protocol

    def draw(parts: Parts, start: OneStart) -> list[GenerationRow]:
        return sample_rows(
            described_folder(of.policy),
            read_table(of.benchmark, DATASET).to_pylist(),
            range(protocol.k),
            # The seed does not depend on the policy: equal noise for all policies reduces the noise of their
            # differences.
            lambda prompt_id, index: derive_seed(protocol.seed, "evaluate", prompt_id, index),
            how_to_sample(protocol),
            settings,
            machine,
            f"answer {Path(of.out).name.removesuffix('.generations.parquet')}",
            parts,
            trusts_remote_code(of.policy),
            start,
        )

    inputs = {"policy": of.policy, "benchmark": of.benchmark}
    return ResponseTable(__file__, of.settings, inputs, of.out, of.scratch or f"{of.out}.parts", draw)


if __name__ == "__main__":
    cli.run(main)
