"""Layers that LoRA should adapt and that the model does not have: found before the first job, without weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import warm_snakemake
import yaml
from config_case import RUN, changed

from astarpo.config import load_config
from astarpo.planning.adapters import THERE, target_problems

ROOT = Path(__file__).resolve().parent.parent
LAYERS = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head"


def problems(folder: Path, monkeypatch: pytest.MonkeyPatch, targets: object, **source: object) -> list[str]:
    monkeypatch.chdir(folder)
    more = {"references__tiny__source": source, "references__tiny__warm_start": None} if source else {}
    return target_problems(load_config(changed(**{f"{RUN}__lora": {"targets": targets}, **more})))


def test_of_a_model_from_scratch(tmp_path, monkeypatch):
    assert problems(tmp_path, monkeypatch, ["query", "q_proj"]) == [
        "runs.a-star-po.lora.targets = ['query', 'q_proj']: a model from scratch has no layer query; it has "
        f"embed_tokens, {LAYERS}"
    ]
    assert problems(tmp_path, monkeypatch, ["q_proj", "down_proj"]) == []
    assert problems(tmp_path, monkeypatch, ["q_proj", "lm_head"]) == []
    assert {*LAYERS.split(", ")} > THERE
    assert problems(tmp_path, monkeypatch, "all-linear") == []


def test_of_a_folder_and_of_a_known_model(tmp_path, monkeypatch):
    gpt = {"model_type": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 50}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text(json.dumps(gpt))
    local = {"kind": "local", "path": "mine"}
    (line,) = problems(tmp_path, monkeypatch, ["q_proj"], **local)
    assert line.endswith("mine has no layer q_proj; it has wte, wpe, c_attn, c_proj, c_fc, lm_head")
    assert problems(tmp_path, monkeypatch, ["c_attn"], **local) == []
    # Code of its own may have other layers, and a config.json that does not load is for its own job to say.
    for wrong in (gpt | {"auto_map": {"AutoModelForCausalLM": "its.Model"}}, gpt | {"model_type": "no-such"}):
        (tmp_path / "mine/config.json").write_text(json.dumps(wrong))
        assert problems(tmp_path, monkeypatch, ["q_proj"], **local) == []
    hub = {"kind": "hub", "id": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    (line,) = problems(tmp_path, monkeypatch, ["c_attn"], **hub)
    assert line.endswith(f"has no layer c_attn; it has embed_tokens, {LAYERS}")
    assert problems(tmp_path, monkeypatch, ["c_attn"], kind="hub", id="no/such-model") == []


def test_who_says_it(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(changed(**{f"{RUN}__lora": {"targets": ["query"]}})))
    script = [sys.executable, ROOT / "workflow_scripts/check_config.py", "mine.yaml"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    said = "runs.a-star-po.lora.targets = ['query']: a model from scratch has no layer query; it has"
    assert done.returncode == 1 and f": {said}" in done.stderr and len(done.stderr.splitlines()) == 1
    started = warm_snakemake.snakemake(
        tmp_path, "train", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--configfile", "mine.yaml"
    )
    assert started.returncode == 1 and said in started.stdout and "Execute " not in started.stdout
