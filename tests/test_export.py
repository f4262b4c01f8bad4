"""From the settings of a training to its model folder: which step is in it, and what the manifest says of it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import training_case as case

from astarpo.common.columns import DATASET, ROLLOUTS, VALUES
from astarpo.common.files import read_json, read_table, sha256, write_table
from astarpo.common.provenance import manifest
from astarpo.training.best_weights import best_step
from astarpo.training.settings import Keep, StopWhen


@pytest.fixture
def data(tmp_path, tiny_policy, tiny_folder):
    """A reference and its prompts with values."""
    (tmp_path / "model").symlink_to(tiny_folder)
    made = manifest({"settings": "{}", "inputs": {}, "code": ""}, {"model": tiny_folder}, 0.0)
    (tmp_path / "manifest.json").write_text(json.dumps(made))
    prompts = case.prompts(tiny_policy)
    names = dict.fromkeys(DATASET.names)
    rows = [
        {**names, "prompt_id": one.prompt_id, "prompt": f"{place}+1\n", "gold": "1", "verifier": one.verifier}
        for place, one in enumerate(prompts)
    ]
    write_table(tmp_path / "d.parquet", rows, DATASET)
    values = [{**dict.fromkeys(VALUES.names), "prompt_id": one.prompt_id, "v_star": one.v_star} for one in prompts]
    write_table(tmp_path / "v.parquet", values, VALUES)
    return tmp_path


def train(
    data: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int = 0,
    more: Mapping[str, str] = MappingProxyType({}),
    **changes: object,
) -> Path:
    """Run the script in this process, with ``more`` options; return its folder of results."""
    import train_policy

    settings = case.SETTINGS.changed(validate_every=1, lr=0.01, lr_schedule="constant", **changes)
    out = data / name
    arguments = {
        "settings": settings.model_dump_json(),
        "machine": case.MACHINE.model_dump_json(),
        "seed": str(seed),
        **{
            option: str(data / file)
            for option, file in (("reference", "manifest.json"), ("scratch", f"{name}/scratch"))
        },
        **{option: str(data / f"{option[0]}.parquet") for option in ("dataset", "values")},
        "validation": str(data / "d.parquet"),
        **{f"out-{one}": str(out / f"{one}.parquet") for one in ("metrics", "timings", "rollouts")},
        "out-model": str(out / "model"),
        "out-manifest": str(out / "manifest.json"),
        **more,
    }
    options = [part for option, value in arguments.items() for part in (f"--{option}", value)]
    monkeypatch.setattr(sys, "argv", ["train_policy", *options])
    train_policy.main()
    return out


def test_the_model_folder_has_the_weights_of_the_best_step(data, monkeypatch):
    kept = train(data, "kept", monkeypatch, seed=4, steps=4, keep=Keep(best="validation_reward"))
    metrics = read_table(kept / "metrics.parquet").to_pylist()
    best = best_step(metrics)
    assert 0 < best < 4, [row["validation_reward"] for row in metrics]
    made = read_json(kept / "manifest.json")
    assert (made["exported_step"], made["last_step"], made["ended_by"]) == (best, 4, "steps")
    assert f"after step {best} of 4" in (kept / "model/README.md").read_text()
    assert made["outputs"]["rollouts"] == sha256(kept / "rollouts.parquet")
    assert read_table(kept / "rollouts.parquet", ROLLOUTS).num_rows == 5 * 8
    last = train(data, "last", monkeypatch, seed=4, steps=best)
    assert read_json(last / "manifest.json")["exported_step"] == best
    weights = "model/model.safetensors"
    assert sha256(kept / weights) == sha256(last / weights)


def test_a_training_that_ends_early_exports_its_last_step(data, monkeypatch):
    early = StopWhen(kl_per_sequence=1e-9)
    ended = train(data, "ended", monkeypatch, steps=5, stop_when=early, compile_model="auto")
    made = read_json(ended / "manifest.json")
    assert made["compiled"] is False  # what was decided, not "auto"
    # Step 1 is on-policy, so its divergence is 0.
    assert (made["exported_step"], made["last_step"], made["ended_by"]) == (2, 2, "kl_per_sequence")
