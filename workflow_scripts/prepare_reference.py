"""Prepare a reference policy: make or load the model, warm-start it on worked solutions, write a model folder."""

from __future__ import annotations

import json
import time
from pathlib import Path

from astarpo.common import cli
from astarpo.common.failures import recall
from astarpo.common.files import write_json
from astarpo.common.origins import folder_of_origin, origin_of, remove_all, remove_older
from astarpo.common.provenance import manifest, provenance
from astarpo.common.writing import new_folder
from astarpo.model.lengths import Length


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", default="{}", metavar="JSON", help="machine settings")
    parser.add_argument("--dataset", help="parquet with worked solutions, for the warm start")
    parser.add_argument("--model-files", nargs="*", default=[], help="files of a local model, for the record")
    parser.add_argument("--lengths", default="[]", metavar="JSON", help="longest inputs of later stages")
    parser.add_argument(
        "--scratch", help="folder of the warm start's checkpoints, until it ends (default: beside the model)"
    )
    parser.add_argument("--attempt", type=int, default=1, help="above 1: a warm start that failed is not repeated")
    parser.add_argument("--out-model", required=True, help="model folder to write")
    parser.add_argument("--out-manifest", required=True, help="JSON written last")
    arguments = parser.parse_args()

    from astarpo.common.machine import MachineSettings
    from astarpo.stage_one.reference import prepare_reference
    from astarpo.stage_one.settings import ReferenceSettings

    settings = ReferenceSettings.from_json(arguments.settings)
    machine = MachineSettings.from_json(arguments.machine, "--machine")

    started = time.monotonic()
    inputs = cli.numbered("model_files", arguments.model_files)
    if arguments.dataset is not None:
        inputs["dataset"] = arguments.dataset
    made_from = provenance(__file__, arguments.settings, inputs)
    name = Path(arguments.out_manifest).parent.name
    lengths = [Length(**length) for length in json.loads(arguments.lengths)]
    scratch = Path(arguments.scratch or f"{arguments.out_model}.checkpoints")
    folder = None
    if settings.warm_start is not None:
        folder = folder_of_origin(scratch, origin_of(made_from))
        remove_older(scratch, folder)
    recall(folder, arguments.attempt)
    policy, facts = prepare_reference(
        settings, arguments.dataset, machine.device, lengths, folder, machine.checkpoint_every, name
    )
    with new_folder(arguments.out_model) as partial:
        policy.save(partial)
    seconds = time.monotonic() - started
    write_json(
        arguments.out_manifest,
        manifest(made_from, {"model": arguments.out_model}, seconds, **facts),
    )
    remove_all(scratch)


if __name__ == "__main__":
    cli.run(main)
