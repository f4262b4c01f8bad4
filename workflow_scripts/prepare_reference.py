"""Prepare a reference policy: make or load the model, warm it up on worked solutions, leave an ordinary folder."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from astarpo import cli
from astarpo.files import write_json
from astarpo.provenance import manifest, provenance


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--machine", default='{"device": "cpu"}', metavar="JSON", help="machine settings"
    )
    parser.add_argument("--dataset", help="parquet with worked solutions, for the warm start")
    parser.add_argument("--model-config", help="config.json of a local model")
    parser.add_argument("--out-model", required=True, help="model folder to make")
    parser.add_argument("--out-manifest", required=True, help="JSON written last")
    arguments = parser.parse_args()
    settings = cli.parse_settings(arguments.settings)
    machine = cli.parse_settings(arguments.machine)

    from astarpo.references.prepare import prepare_reference

    started = time.monotonic()
    named = {"dataset": arguments.dataset, "model_config": arguments.model_config}
    made_from = provenance(
        __file__,
        arguments.settings,
        {name: path for name, path in named.items() if path is not None},
    )
    policy, facts = prepare_reference(settings, arguments.dataset, machine["device"])
    partial = Path(f"{arguments.out_model}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    policy.save(partial)
    shutil.rmtree(arguments.out_model, ignore_errors=True)
    os.replace(partial, arguments.out_model)
    seconds = time.monotonic() - started
    write_json(
        arguments.out_manifest,
        manifest(made_from, {"model": arguments.out_model}, seconds, **facts),
    )


if __name__ == "__main__":
    cli.run(main)
