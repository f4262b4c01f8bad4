"""Generate a policy's answers to a benchmark's problems by one protocol (greedy, sampled, ...)."""

from __future__ import annotations

from pathlib import Path

from astarpo.common import cli
from astarpo.common.columns import DATASET, GENERATIONS
from astarpo.common.files import read_table, write_table
from astarpo.common.provenance import provenance
from astarpo.common.seeds import derive_seed


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", required=True, metavar="JSON", help="machine settings")
    parser.add_argument("--policy", required=True, help="manifest.json beside the policy's model folder")
    parser.add_argument("--benchmark", required=True, help="parquet file of problems")
    parser.add_argument("--out", required=True, help="parquet file, one row per answer")
    parser.add_argument("--scratch", help="folder of finished answers, until all are (default: OUT.parts)")
    arguments = parser.parse_args()

    from astarpo.common.machine import MachineSettings
    from astarpo.common.parts import Parts
    from astarpo.common.stopping import stopped_by_signals
    from astarpo.model.files import described_folder, trusts_remote_code
    from astarpo.sampling.settings import GenerateAnswersSettings, how_to_sample
    from astarpo.sampling.stage import kept_responses, sample_rows

    settings = GenerateAnswersSettings.from_json(arguments.settings)
    machine = MachineSettings.from_json(arguments.machine, "--machine")

    inputs = {"policy": arguments.policy, "benchmark": arguments.benchmark}
    made_from = provenance(__file__, arguments.settings, inputs)
    protocol = settings.protocol
    parts = Parts(arguments.scratch or f"{arguments.out}.parts", made_from, GENERATIONS)
    with stopped_by_signals(lambda: kept_responses(parts.rows)), parts:
        drawn = sample_rows(
            described_folder(arguments.policy),
            read_table(arguments.benchmark, DATASET).to_pylist(),
            range(protocol.k),
            # The seed does not depend on the policy: equal noise for all policies reduces the noise of their
            # differences.
            lambda prompt_id, index: derive_seed(protocol.seed, "evaluate", prompt_id, index),
            how_to_sample(protocol),
            settings,
            machine,
            f"answer {Path(arguments.out).name.removesuffix('.generations.parquet')}",
            parts,
            trusts_remote_code(arguments.policy),
        )
    write_table(arguments.out, drawn, GENERATIONS, {"provenance": made_from})
    parts.remove()


if __name__ == "__main__":
    cli.run(main)
