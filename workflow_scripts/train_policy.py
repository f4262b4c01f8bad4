"""Train a policy (stage 2): one run with one seed, resuming from its checkpoint if there is one."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path

from astarpo.common import cli
from astarpo.common.errors import InputError
from astarpo.common.importing import no_collection
from astarpo.common.locks import only_one
from astarpo.common.provenance import TrainingProvenance, provenance

OUTPUTS = ("model", "metrics", "timings", "rollouts", "steps", "manifest")


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--machine", required=True, metavar="JSON", help="machine settings")
    parser.add_argument("--seed", required=True, type=int, help="the run's seed")
    parser.add_argument("--reference", required=True, help="the reference's manifest.json")
    parser.add_argument("--dataset", required=True, help="parquet file of prompts to train on")
    parser.add_argument("--validation", help="parquet file of validation prompts")
    parser.add_argument("--selection", help="parquet file that says which prompts are trained on")
    parser.add_argument("--values", help="parquet file with V* of each prompt")
    parser.add_argument("--verifier", nargs="+", default=[], help="Python files of the prompts' own verifier")
    parser.add_argument("--validation-verifier", nargs="+", default=[], help="the same for the validation prompts")
    parser.add_argument("--scratch", required=True, help="folder for checkpoints and metrics.jsonl")
    parser.add_argument("--out-model", required=True, help="model folder to make")
    parser.add_argument("--out-metrics", required=True, help="parquet file, one row per step")
    parser.add_argument("--out-timings", required=True, help="parquet file, one row per step")
    parser.add_argument("--out-rollouts", required=True, help="parquet file, responses to validation prompts")
    parser.add_argument("--out-steps", help="folder for the steps that the settings keep")
    parser.add_argument("--out-manifest", required=True, help="JSON written last")
    arguments = parser.parse_args()
    names = ("reference", "dataset", "validation", "selection", "values")
    inputs = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    for name in ("verifier", "validation_verifier"):
        inputs |= cli.one_or_numbered(name, getattr(arguments, name))

    with no_collection():
        from astarpo.common.machine import MachineSettings
        from astarpo.training.export import export
        from astarpo.training.job import train
        from astarpo.training.settings import TrainSettings

    settings = TrainSettings.from_json(arguments.settings)
    if settings.kept_steps() and arguments.out_steps is None:
        raise InputError("the settings keep weights of some steps (keep.steps): give --out-steps FOLDER")
    machine = MachineSettings.from_json(arguments.machine, "--machine")

    started = time.monotonic()
    made_from: TrainingProvenance = {**provenance(__file__, arguments.settings, inputs), "seed": arguments.seed}
    outputs = {name: getattr(arguments, f"out_{name}") for name in OUTPUTS if getattr(arguments, f"out_{name}")}
    # Of the processes of one training the first one writes. The launcher holds a lock as well, but not for processes
    # that outlive their torchrun.
    first = os.environ.get("RANK", "0") == "0"
    with only_one(Path(arguments.scratch) / "lock", f"the training in {arguments.scratch}") if first else nullcontext():
        beside = Path(arguments.out_timings).parent
        finished = train(settings, machine, arguments.seed, inputs, made_from, arguments.scratch, outputs, beside)
        if finished is not None:
            export(finished, made_from, machine, outputs, time.monotonic() - started)


if __name__ == "__main__":
    cli.run(main)
