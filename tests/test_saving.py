"""What transformers reads and does not write again is repaired, or refused, before a warm start is paid for."""

import json

import model_case
import pytest

from astarpo.common.errors import InputError
from astarpo.model.loading import load_policy
from astarpo.model.saving import check_can_save, repair_generation_config
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings


def prepared(tmp_path, **generation):
    made = model_case.tokenizer()
    path = model_case.folder(tmp_path / "m", model_case.llama(len(made)), made, **generation)
    return {"source": {"kind": "local", "path": path}, "warm_start": None}


@pytest.mark.parametrize(
    ("generation", "said", "kept"),
    [
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, "do_sample is now true", 0.6),
        ({"temperature": 0.6, "num_beams": 1, "length_penalty": 2.0}, "only its special tokens", None),
    ],
)
def test_a_generation_config_that_cannot_be_written_is_repaired_with_a_word(tmp_path, capsys, generation, said, kept):
    settings = prepared(tmp_path, eos_token_id=[1, 7], **generation)
    with pytest.raises(ValueError, match="GenerationConfig is invalid"):
        load_policy(settings["source"]["path"]).model.save_pretrained(tmp_path / "no")
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    output = capsys.readouterr().out
    assert "generation_config.json: GenerationConfig is invalid" in output and said in output
    policy.save(tmp_path / "out")
    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert written.get("temperature") == kept and written["eos_token_id"] == [1, 7]
    assert load_policy(tmp_path / "out").end_token_ids == [1, 7]


def test_a_good_generation_config_stays_as_it_is(tmp_path, capsys):
    settings = prepared(tmp_path, do_sample=True, temperature=0.6)
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    assert "generation_config.json" not in capsys.readouterr().out
    assert repair_generation_config(policy.model) is None
    policy.save(tmp_path / "out")
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["temperature"] == 0.6


def test_whatever_else_cannot_be_written_is_refused_before_training(tmp_path):
    policy = load_policy(prepared(tmp_path)["source"]["path"])
    check_can_save(policy.model, policy.tokenizer)
    policy.model.config.temperature = 0.7  # a generation parameter, which has no place there
    with pytest.raises(InputError, match="does not save LlamaConfig as it was loaded: .*temperature"):
        check_can_save(policy.model, policy.tokenizer)


def test_a_damaged_generation_config_is_said(tmp_path):
    settings = prepared(tmp_path)
    (tmp_path / "m/generation_config.json").write_text("{")
    with pytest.raises(InputError, match="the generation config of .* cannot be loaded.*or delete it"):
        prepare_reference(ReferenceSettings(**settings), None, "cpu")


@pytest.mark.parametrize(
    "generation",
    [{"num_return_sequences": 4, "do_sample": False}, {"cache_implementation": "none"}],
)
def test_a_generation_config_that_contradicts_itself_is_said_before_the_weights(tmp_path, generation):
    settings = prepared(tmp_path, **generation)
    (tmp_path / "m/model.safetensors").write_text("never read")
    with pytest.raises(InputError) as refused:
        prepare_reference(ReferenceSettings(**settings), None, "cpu")
    assert "\n" not in str(refused.value)
    assert "Correct generation_config.json, or delete it" in str(refused.value)
