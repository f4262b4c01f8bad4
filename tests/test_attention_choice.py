"""Which implementation computes attention: chosen in the reference's entry, checked, and kept in the folder."""

import json
from pathlib import Path

import model_case
import pytest
import torch
import training_case
import yaml
from config_case import settings
from transformers import BloomConfig

from astarpo.common.errors import InputError
from astarpo.config import load_config
from astarpo.model.attention import check_attention
from astarpo.model.loading import load_policy, load_policy_without_weights, place
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.scratch import build_scratch_policy
from astarpo.sampling import Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.stage_one.reference import prepare_reference
from astarpo.stage_one.settings import ReferenceSettings

DEFAULT = yaml.safe_load((Path(__file__).parents[1] / "config/config.yaml").read_text(encoding="utf-8"))
IDS = torch.tensor([[5, 9, 30, 31, 32, 33, 40, 41, 42, 43, 44, 45]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture(scope="module")
def capped(tmp_path_factory):
    """A folder with a Gemma 2 that caps its attention scores."""
    made = model_case.tokenizer()
    path = tmp_path_factory.mktemp("capped") / "m"
    return model_case.folder(path, model_case.gemma2(len(made)), made)


def test_a_model_that_caps_its_scores_is_refused_with_sdpa_which_leaves_the_cap_out(capped):
    with pytest.raises(InputError, match=r"attn_logit_softcapping = 0\.5.*set attention: eager"):
        load_policy(capped)
    policy = load_policy(capped, attention="eager")
    expected = logits(policy.model)
    policy.model.set_attn_implementation("sdpa")
    assert (logits(policy.model) - expected).abs().max() > 0.1
    made = model_case.tokenizer()
    check_attention("m", model_case.gemma2(len(made), cap=None).config, "sdpa")


def test_the_choice_is_kept_in_the_folder_and_holds_in_sampling_and_training(capped, tmp_path):
    settings = {
        "source": {"kind": "local", "path": capped},
        "warm_start": None,
        "attention": "eager",
    }
    policy, _ = prepare_reference(ReferenceSettings(**settings), None, "cpu")
    policy.save(tmp_path / "prepared")
    policy = load_policy(tmp_path / "prepared")
    assert policy.attention == "eager" == policy.model.config._attn_implementation
    assert load_policy_without_weights(tmp_path / "prepared").attention == "eager"
    policy.save(tmp_path / "trained")
    written = json.loads((tmp_path / "trained/config.json").read_text())
    assert written["attn_implementation"] == "eager"
    assert torch.equal(logits(load_policy(tmp_path / "trained").model), logits(policy.model))

    sampler = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, 8)
    prompts = [[5, 9, 30][: 1 + index % 3] for index in range(8)]
    requests = [Request("p", index, index, prompt) for index, prompt in enumerate(prompts)]
    drawn = sampler.sample(requests, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=24))
    batch = collate(prompts, [one.token_ids for one in drawn], policy.end_token_ids)
    log_probs_BT, _ = token_log_probs(policy.model, batch, 1.0)
    for row, one in enumerate(drawn):
        own = log_probs_BT[row, : len(one.token_ids)].tolist()
        assert one.log_probs == pytest.approx(own, abs=1e-4)
    assert policy.model.config._attn_implementation == "eager"


def test_implementations_agree_and_the_usual_one_leaves_no_trace(tmp_path):
    options = {
        "seed": 0,
        "layers": 2,
        "hidden_size": 64,
        "intermediate_size": 64,
        "heads": 4,
        "kv_heads": 2,
        "max_positions": 64,
        "whole_tokens": [],
    }
    usual, other = (
        build_scratch_policy(**options),
        build_scratch_policy(**options, attention="eager"),
    )
    assert other.model.config._attn_implementation == "eager"
    torch.testing.assert_close(logits(other.model), logits(usual.model), atol=1e-5, rtol=1e-4)
    usual.save(tmp_path / "usual")
    assert "attn_implementation" not in (tmp_path / "usual/config.json").read_text()


def test_what_a_model_or_a_machine_does_not_have_is_refused_with_a_way_out(tmp_path):
    made = model_case.tokenizer()
    path = model_case.folder(tmp_path / "m", model_case.llama(len(made)), made)
    with pytest.raises(InputError, match=r"attention = 'flash_attention_2': .*package.*eager"):
        load_policy(path, attention="flash_attention_2")
    small = BloomConfig(hidden_size=16, n_head=2, n_layer=1, vocab_size=100)
    with pytest.raises(InputError, match=r"attention = 'sdpa': bloom cannot .*does not support"):
        check_attention("bloom", small, "sdpa")
    check_attention("bloom", small, "eager")


def test_a_training_with_eager_attention_runs(capped, tmp_path):
    load_policy(capped, attention="eager").save(tmp_path / "m")
    made = training_case.trainer(tmp_path / "m")
    assert made.engine.policy.attention == made.engine.reference.attention == "eager"
    (tmp_path / "scratch").mkdir()
    before = training_case.weights(made)
    made.run(tmp_path / "scratch")
    assert not torch.equal(training_case.weights(made), before)


def configured(**changes):
    reference = {**DEFAULT["references"]["tiny"], **changes}
    return {**DEFAULT, "references": {"tiny": reference}}


def test_the_attention_is_among_the_settings_of_a_reference():
    usual = settings(load_config(DEFAULT), "prepare_reference", reference="tiny")
    assert settings(load_config(configured(attention="sdpa")), "prepare_reference", reference="tiny") == usual
    other = json.loads(settings(load_config(configured(attention="eager")), "prepare_reference", reference="tiny"))
    assert other == {**json.loads(usual), "attention": "eager"}


def test_flash_attention_wants_half_precision_and_a_gpu():
    with pytest.raises(InputError) as refused:
        load_config(configured(attention="flash_attention_2"))
    assert "precision: bfloat16" in str(refused.value) and "needs a GPU" in str(refused.value)
    raw = configured(attention="flash_attention_2", precision="bfloat16")
    load_config({**raw, "machine": {**raw["machine"], "device": "cuda"}})
    with pytest.raises(InputError, match="attention = 'linear'"):
        load_config(configured(attention="linear"))


def test_cudnn_attends_on_no_gpu_and_is_left_alone_on_a_cpu():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        place(torch.nn.Linear(1, 1), "cpu")
        assert torch.backends.cuda.cudnn_sdp_enabled()
        assert place(torch.nn.Linear(1, 1), "meta").weight.device.type == "meta"
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
