"""What cannot fit the cards that are here is refused before the first job, and only what is certain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import warm_snakemake
import yaml
from config_case import DEFAULT, changed

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.config.files import merged
from astarpo.config.runs import Config
from astarpo.planning.cards import named_machine
from astarpo.planning.plan import plan
from astarpo.planning.room import check_room, planned_key

ROOT = Path(__file__).resolve().parents[1]
SMALL = "NVIDIA L4, 23034, 0, GPU-a"
TRAINING = ("training", "math-qwen2-5-1-5b")


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def recipe() -> Config:
    return load_config(merged([str(ROOT / "config/recipes/math_qwen2.5_1.5b.yaml")]))


def smi(folder: Path, *cards: str) -> str:
    """An nvidia-smi that knows these cards, as facts and as a list."""
    facts, listed = "; ".join(f"echo '{one}'" for one in cards), "; ".join(f"echo 'GPU {one}'" for one in cards)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncase $1 in --list-gpus) {listed};; *) {facts};; esac\n")
    (folder / "nvidia-smi").chmod(0o755)
    return str(folder / "nvidia-smi")


def test_a_training_that_cannot_fit_is_refused_as_the_doctor_does(tmp_path):
    config = recipe()
    with pytest.raises(InputError) as caught:
        check_room(config, {TRAINING, None}, smi(tmp_path, SMALL))
    said = [one for one in plan(config, named_machine("L4")).problems if one.startswith("training of")]
    assert [str(caught.value)] == [f"{said[0]}; finished results are kept."]
    check_room(config, {("stage 1", "qwen2-5-1-5b on math"), None}, smi(tmp_path, SMALL))
    check_room(config, {TRAINING}, "no-such-program")
    check_room(config.changed(machine=config.machine.changed(device="cpu")), {TRAINING}, smi(tmp_path, SMALL))


def test_only_what_is_certain_is_refused(tmp_path):
    """Other programs may end, another card may be the job's, and prompts may be shorter than is allowed."""
    config = recipe()
    check_room(config, {TRAINING}, smi(tmp_path, "NVIDIA H100, 81559, 81000, GPU-a"))
    check_room(config, {TRAINING}, smi(tmp_path, SMALL, "NVIDIA H100, 81559, 0, GPU-b"))
    longer = {name: entry.changed(max_prompt_tokens=20_000) for name, entry in config.references.items()}
    kept = config.machine.changed(activation_checkpointing=False, micro_batch=1)
    runs = {name: run.changed(max_prompt_tokens=None) for name, run in config.runs.items()}
    longer_prompts = config.changed(references=longer, runs=runs, machine=kept)
    assert plan(longer_prompts, named_machine("H100")).problems
    check_room(longer_prompts, {TRAINING}, smi(tmp_path, "NVIDIA H100, 81559, 0, GPU-a"))


def test_a_share_that_is_too_small_for_the_model_is_certain(tmp_path):
    config = recipe()
    small = config.changed(machine=config.machine.changed(sampler_memory_share=0.03))
    with pytest.raises(InputError, match="training of .*: vLLM's share of the H100 holds .* of 0 tokens"):
        check_room(small, {TRAINING}, smi(tmp_path, "NVIDIA H100, 81559, 0, GPU-a"))


def test_keys_of_planned_jobs():
    config = load_config(DEFAULT)
    assert planned_key(config, "train_policy", {"run": "a-star-po", "seed": "0"}) == ("training", "a-star-po")
    sampled = {"reference": "tiny", "dataset": "sums", "block": "s8-p1"}
    assert planned_key(config, "sample_reference", sampled) == ("stage 1", "tiny on sums")
    assert planned_key(config, "prepare_reference", {"reference": "tiny"}) == ("warm start", "tiny")
    evaluated = {"policy": "a-star-po.seed-0", "benchmark": "x", "protocol": "greedy"}
    assert planned_key(config, "generate_answers", evaluated) == ("evaluation", "tiny and policies trained from it")
    assert planned_key(config, "grade_answers", evaluated) is None


def test_the_workflow_says_so_before_its_first_job(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    (tmp_path / "torch/version.py").write_text("cuda = '13.0'\n")
    smi(tmp_path, "NVIDIA L4, 480, 0, GPU-a")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(changed(machine__device="cuda")))
    started = warm_snakemake.snakemake(
        tmp_path, "train", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--configfile", "mine.yaml"
    )
    assert started.returncode == 1 and not (tmp_path / "results/datasets").exists()
    assert "warm start of tiny: " in started.stdout and "but L4 has 0.0 GB free" in started.stdout
