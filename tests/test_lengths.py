"""Texts longer than a model's positions are refused, by the configuration and before any weights are read."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import model_case
import pytest
import training_case
import yaml
from config_case import settings
from transformers import BloomConfig, GemmaConfig, GPT2Config, LlamaConfig, MambaConfig, OPTConfig

from astarpo.common.errors import InputError
from astarpo.common.files import sha256, write_json
from astarpo.common.machine import MachineSettings
from astarpo.config import load_config
from astarpo.config.lengths import lengths_json
from astarpo.data.settings import PromptSettings
from astarpo.model.lengths import Length, check_folder, check_lengths, position_limit
from astarpo.planning.positions import position_problems
from astarpo.sampling.settings import GenerationSettings, SamplingSettings
from astarpo.sampling.stage import sample_rows
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings
from astarpo.training.job import train

DEFAULT = yaml.safe_load((Path(__file__).parents[1] / "config/config.yaml").read_text(encoding="utf-8"))
MACHINE = MachineSettings(sampling_batch=4)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(max_position_embeddings=64), 64),
        (GPT2Config(n_positions=96), 96),
        (OPTConfig(max_position_embeddings=128), 128),
        (GemmaConfig(), 8192),
        (BloomConfig(), None),
        (MambaConfig(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_architecture_names_its_positions_in_its_own_way(config, limit):
    assert position_limit(config.to_dict()) == limit


YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"max_position_embeddings": 32768, "rope_scaling": YARN}, 131072),
        ({"max_position_embeddings": 131072, "rope_parameters": YARN}, 131072),
        ({"max_position_embeddings": 131072, "rope_scaling": LLAMA3}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4}}, 16384),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"full": {"rope_type": "yarn", "factor": 2}}}, 4096),
        ({"text_config": {"max_position_embeddings": 512}, "max_position_embeddings": 7}, 512),
        ({"max_seq_len": 2048, "attn_config": {"alibi": True}}, None),
        ({"max_seq_len": 2048, "attn_config": {"alibi": False}}, 2048),
        ({"max_position_embeddings": -1}, None),
    ],
)
def test_stretched_and_absent_positions(config, limit):
    assert position_limit(config) == limit


def test_prompt_and_response_may_fill_all_positions_and_no_more():
    check_lengths("m", 64, [Length("a", 16, 48)])
    check_lengths("m", None, [Length("a", 16, 10**6)])
    with pytest.raises(InputError) as refused:
        check_lengths("m", 64, [Length("runs.a", 16, 49), Length("b", 1, 1), Length("c", 65, 1)])
    first, second = str(refused.value).splitlines()
    assert first.startswith(
        "runs.a: prompts of up to 16 tokens (max_prompt_tokens) with responses of up to 49 (max_new_tokens) make 65, "
        "but m has 64 positions; lower either"
    )
    assert second.startswith("c: ")


def changed(path: str, value: object) -> dict:
    made = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    place = made
    for part in parents:
        place = place[part]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("benchmarks/held-out/protocols/greedy/max_new_tokens", ["benchmarks.held-out.protocols.greedy"]),
        ("datasets/sums/sampling/max_new_tokens", ["datasets.sums.sampling", "runs.a-star-po"]),
    ],
)
def test_a_model_from_scratch_is_checked_in_the_configuration(path, keys):
    load_config(changed(path, 96))  # 32 tokens of prompt and 128 positions
    with pytest.raises(InputError) as refused:
        load_config(changed(path, 97))
    lines = str(refused.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == keys
    assert all("make 129, but references.tiny (source.max_positions) has 128" in n for n in lines)


@pytest.mark.parametrize("script", ["doctor.py", "check_config.py"])
def test_a_model_whose_config_is_at_hand_is_checked_before_anything_runs(tmp_path, monkeypatch, script):
    """Prompts of 32 tokens, and responses of 64 to them."""
    told = changed("references/tiny/source", {"kind": "local", "path": "mine"})
    told["references"]["tiny"]["warm_start"] = None
    told["datasets"]["sums"]["sampling"]["max_new_tokens"] = 64
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(told))
    monkeypatch.chdir(tmp_path)
    assert position_problems(load_config(told)) == []  # nothing is known of the model
    shape = {"model_type": "llama", "max_position_embeddings": 96}
    (tmp_path / "mine/config.json").write_text(json.dumps(shape))
    assert position_problems(load_config(told)) == []
    (tmp_path / "mine/config.json").write_text(json.dumps(shape | {"max_position_embeddings": 95}))
    said = "make 96, but references.tiny (mine) has 95 positions; lower either, or choose a model"
    found = position_problems(load_config(told))
    assert [problem.split(":")[0] for problem in found] == ["datasets.sums.sampling", "runs.a-star-po"]
    assert all(said in problem for problem in found)
    command = [sys.executable, Path(__file__).parents[1] / "workflow_scripts" / script, "mine.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and all(problem in done.stdout + done.stderr for problem in found)


def test_a_run_with_shorter_prompts_of_its_own_has_room_for_longer_responses():
    raw = changed("datasets/sums/sampling/max_new_tokens", 112)
    raw["runs"]["a-star-po"]["max_prompt_tokens"] = 16
    with pytest.raises(InputError) as refused:
        load_config(raw)
    assert "datasets.sums.sampling:" in str(refused.value) and "runs." not in str(refused.value)


def test_benchmarks_that_no_run_of_a_reference_uses_do_not_count():
    raw = changed("benchmarks/held-out/protocols/greedy/max_new_tokens", 1000)
    raw["runs"]["a-star-po"]["benchmarks"] = ["one-more-term"]
    del raw["figures"]
    load_config(raw)


def test_what_models_are_given_to_read_is_not_among_the_settings_that_are_compared():
    more = changed("benchmarks/held-out/protocols/greedy/max_new_tokens", 90)
    config, other = load_config(DEFAULT), load_config(more)
    assert settings(config, "prepare_reference", reference="tiny") == settings(
        other, "prepare_reference", reference="tiny"
    )
    assert lengths_json(config, "tiny") != lengths_json(other, "tiny")


@pytest.mark.parametrize("make", [model_case.llama, model_case.gpt2])
def test_a_folder_is_refused_before_its_weights_are_read(tmp_path, make):
    made = model_case.tokenizer()
    path = model_case.folder(tmp_path / "m", make(len(made)), made)
    (tmp_path / "m/model.safetensors").unlink()
    settings = {"source": {"kind": "local", "path": path}, "warm_start": None}
    length = Length("benchmarks.b.protocols.greedy", 16, 100)
    with pytest.raises(InputError, match=r"benchmarks\.b\.protocols\.greedy: .* has 64 positions"):
        prepare_reference(ReferenceSettings(**settings), None, "cpu", [length])


@pytest.mark.parametrize("make", [model_case.llama, model_case.gpt2])
def test_sampling_refuses_what_the_model_cannot_read_and_answers_up_to_there(tmp_path, make):
    made = model_case.tokenizer()
    path = model_case.folder(tmp_path / "m", make(len(made)), made)
    asking = GenerationSettings(torch_threads=1, prompting=PromptSettings(max_prompt_tokens=4))

    def draw(longest):
        rows = [{"prompt_id": "p", "prompt": "1+1="}]
        sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=longest)
        return sample_rows(path, rows, range(8), lambda _, i: i, sampling, asking, MACHINE, "it")

    with pytest.raises(InputError, match="it: .* make 65, but .*/m has 64 positions"):
        draw(61)
    drawn = draw(60)
    assert max(row["n_tokens"] for row in drawn) == 60


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        check_folder(tmp_path, [Length("a", 1, 1)])


def test_a_training_is_refused_before_its_models_are_loaded(tmp_path):
    made = model_case.tokenizer()
    model_case.folder(tmp_path / "model", model_case.llama(len(made)), made)
    (tmp_path / "model/model.safetensors").unlink()
    reference = tmp_path / "manifest.json"
    write_json(reference, {"outputs": {"model": sha256(tmp_path / "model")}})
    told = training_case.SETTINGS.changed(
        method="grpo",
        hyperparameters={},
        sampling=SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=33),
    )
    with pytest.raises(InputError, match=r"the training: .* make 65, but .*/model has 64 positions"):
        train(told, training_case.MACHINE, 0, {"reference": str(reference)}, {}, "s", {})
