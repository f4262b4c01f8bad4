"""What the start of a training costs: the modules that it loads, and what happens beside the loading of models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import model_case
import pytest
import training_case

from astarpo.common.columns import DATASET
from astarpo.common.files import sha256, write_json, write_table
from astarpo.common.provenance import TrainingProvenance
from astarpo.rewards.pool import GradingPool
from astarpo.training import job

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow_scripts"
# What takes long to load and is for other stages, engines, verifiers or trackers. torch and transformers load sympy,
# scipy and accelerate by themselves.
NOT_FOR_THE_START = {
    *("bitsandbytes", "datasets", "deepspeed", "latex2sympy2_extended", "math_verify", "matplotlib", "pandas", "peft"),
    *("reasoning_gym", "sklearn", "snakemake", "tensorboard", "vllm", "wandb"),
}


def printed(code: str) -> Any:
    """What a new process prints as JSON."""
    command = [sys.executable, "-c", f"import json, sys; sys.path.insert(0, {str(SCRIPTS)!r})\n{code}"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def test_the_start_loads_only_what_every_training_needs():
    loaded = printed(
        "from astarpo.training import export, job, settings\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    assert {"torch", "transformers", "pyarrow"} <= set(loaded)
    assert not NOT_FOR_THE_START & set(loaded)


@pytest.mark.parametrize(
    ("verifiers", "prepared"),
    [(["integer", "gsm8k"], False), (["integer", "math"], True), (["my_verifier.py:judge"], True), ([], False)],
)
def test_workers_are_prepared_for_verifiers_that_need_them(verifiers, prepared):
    started = printed(
        "import psutil\n"
        "from astarpo.rewards.grading import Grader\n"
        "from astarpo.rewards.settings import GradingSettings\n"
        "with Grader(GradingSettings(), 2) as grader:\n"
        f"    grader.prepare({verifiers})\n"
        "    print(json.dumps(len(psutil.Process().children()) > 0))"  # whose command may not be theirs yet
    )
    assert started is prepared


def test_workers_are_prepared_before_the_models_are_loaded(tmp_path, monkeypatch):
    events: list[str] = []
    monkeypatch.setattr(GradingPool, "prepare", lambda pool: events.append("workers"))

    def make_engine(*_: Any) -> Any:
        events.append("models")
        raise NotImplementedError

    monkeypatch.setattr(job, "make_engine", make_engine)
    made = model_case.tokenizer()
    model_case.folder(tmp_path / "model", model_case.llama(len(made)), made)
    reference = tmp_path / "manifest.json"
    write_json(reference, {"outputs": {"model": sha256(tmp_path / "model")}})
    row = {"prompt_id": "a", "prompt": "1+1", "gold": "2", "verifier": "math"}
    write_table(tmp_path / "prompts.parquet", [row], DATASET)
    inputs = {"reference": str(reference), "dataset": str(tmp_path / "prompts.parquet")}
    settings = training_case.SETTINGS.changed(method="grpo", hyperparameters={})
    made_from: TrainingProvenance = {"settings": "{}", "inputs": {}, "code": "", "modules": {}, "seed": 0}
    with pytest.raises(NotImplementedError):
        job.train(settings, training_case.MACHINE, 0, inputs, made_from, str(tmp_path), {})
    assert events == ["workers", "models"]


def test_no_garbage_is_looked_for_while_packages_are_loaded():
    collections, frozen, enabled = printed(
        "import gc\n"
        "from astarpo.common.importing import no_collection\n"
        "collections = []\n"
        "gc.callbacks.append(lambda phase, about: collections.append(phase))\n"
        "with no_collection():\n"
        "    import asyncio, decimal, email, http.client, unittest\n"
        "    kept = [[] for _ in range(10_000)]\n"
        "within = len(collections)\n"
        "print(json.dumps([within, gc.get_freeze_count(), gc.isenabled()]))"
    )
    assert collections == 0 and frozen > 10_000 and enabled
