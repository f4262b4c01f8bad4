"""A beginning that all rows of a batch share is read once, exact in value and gradient."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import training_case
from test_generation import shapes_read
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen3Config

from astarpo.model.chunked_log_probs import find_head
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.shared_prefix import EXACT, LEAST_SHARED, can_share, rotary_types, shared_length
from astarpo.sampling import Request
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler

END = [1]


class NoText:
    """In place of a tokenizer: texts do not matter here."""

    pad_token_id = 0

    def decode(self, token_ids, skip_special_tokens):
        return ""


SHOTS = [(7 * i) % 50 + 3 for i in range(40)]
PROMPTS = [[*SHOTS, 60, 61, 62], [*SHOTS, 63], [*SHOTS, 64, 65, 66, 67, 68]]
RESPONSES = [[10, 11, 1], [12, 13, 14, 15, 16], [17, 1]]


def log_probs(model, share, chunked=False, prompts=PROMPTS, responses=RESPONSES, weights=(1.0, 2.0, -0.5)):
    """Log-probabilities, and the gradient of all weights of a weighted sum of them and the entropies."""
    head = find_head(model) if chunked else None
    limit = 0 if chunked else None
    model.zero_grad(set_to_none=True)
    batch = collate(prompts, responses, END)
    found_BT, entropy_BT = token_log_probs(model, batch, 0.8, "with_gradient", head, 3, limit, share_prefix=share)
    weights_B = torch.tensor(weights[: len(prompts)])
    ((found_BT * weights_B[:, None]).sum() + 0.3 * entropy_BT.sum()).backward()
    gradients = [one.grad.clone() for one in model.parameters() if one.grad is not None]
    model.zero_grad(set_to_none=True)
    return found_BT.detach(), gradients


def assert_equal(model, **options):
    apart, gradients_apart = log_probs(model, False, **options)
    shared, gradients_shared = log_probs(model, True, **options)
    assert torch.allclose(shared, apart, atol=1e-5) and apart.abs().max() > 1
    assert len(gradients_shared) == len(gradients_apart) > 0
    for one, other in zip(gradients_shared, gradients_apart, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)
    assert max(float(one.abs().max()) for one in gradients_apart) > 0.01


@pytest.mark.parametrize("chunked", [False, True])
def test_values_and_gradients_are_those_of_rows_read_apart(tiny_policy, chunked):
    assert_equal(tiny_policy.model, chunked=chunked)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4, vocab_size=80,
                    num_key_value_heads=2),
        Qwen3Config(num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4, vocab_size=80,
                    num_key_value_heads=1, head_dim=8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_other_architectures_and_attention(config, attention):
    torch.manual_seed(0)
    assert_equal(AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval())


def test_a_prompt_without_anything_of_its_own(tiny_policy):
    """A group of responses to one prompt: all of it is shared but the token that predicts the first of the response."""
    assert_equal(tiny_policy.model, prompts=[SHOTS] * 3)


def test_the_beginning_is_read_once_by_one_row(tiny_policy):
    with shapes_read(tiny_policy) as shapes:
        log_probs(tiny_policy.model, True)
    width = max(len(p) + len(r) for p, r in zip(PROMPTS, RESPONSES, strict=True))
    assert shapes == [(1, 40), (3, width - 40)]


def test_short_beginnings_and_single_rows_are_read_as_before(tiny_policy):
    short = [prompt[40 - LEAST_SHARED + 1 :] for prompt in PROMPTS]
    for prompts, responses in ((short, RESPONSES), (PROMPTS[:1], RESPONSES[:1])):
        with shapes_read(tiny_policy) as shapes:
            log_probs(tiny_policy.model, True, prompts=prompts, responses=responses)
        assert [shape[0] for shape in shapes] == [len(prompts)]


def test_how_much_is_shared():
    ids_BS = torch.tensor([[*range(30), 40, 41], [*range(30), 50, 41]])
    assert shared_length(ids_BS, 32) == 30 and shared_length(ids_BS, 20) == 20
    assert shared_length(ids_BS, LEAST_SHARED - 1) == 0 == shared_length(ids_BS[:1], 32)
    assert shared_length(ids_BS[:, 30:], 2) == 0 and shared_length(ids_BS[:1].repeat(2, 1), 32) == 32


def test_rotary_frequencies_of_any_layer_are_looked_at():
    assert rotary_types(Qwen3Config()) == {"default"}
    mixed = {"sliding_attention": {"rope_type": "default"}, "full_attention": {"rope_type": "longrope"}}
    assert rotary_types(SimpleNamespace(rope_parameters=mixed)) == {"default", "longrope"}
    assert rotary_types(SimpleNamespace()) == rotary_types(SimpleNamespace(rope_parameters=None)) == set()


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 80, "intermediate_size": 48}


@pytest.fixture(params=sorted(EXACT))
def architecture(request):
    """A random model of each architecture, with weights large enough for tokens to depend on what is before them."""
    torch.manual_seed(0)
    shared_heads = {} if request.param in ("gpt2", "gpt_neox") else {"num_key_value_heads": 2}
    no_window = {"sliding_window": None} if request.param == "mistral" else {}
    config = AutoConfig.for_model(request.param, **TINY, **shared_heads, **no_window, pad_token_id=0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for one in model.parameters():
        if one.dim() > 1:
            torch.nn.init.normal_(one, std=0.3)
    return model


def test_every_architecture_reads_a_beginning_as_rows_apart(architecture):
    """In float64, as gradients of these weights are large: rounding would hide a small difference."""
    assert can_share(architecture)
    assert_equal(architecture.double())


def test_every_architecture_draws_what_it_would_draw_row_by_row(architecture):
    """Rows of unequal length have gaps after what they share; log-probabilities are those of a plain pass."""
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=6)
    requests = [Request(str(row), 0, 100 + row, prompt) for row, prompt in enumerate(PROMPTS)]
    drawn = TransformersSampler(architecture, NoText(), END, len(PROMPTS)).sample(requests, settings)
    plain_BT, _ = token_log_probs(architecture, collate(PROMPTS, [one.token_ids for one in drawn], END), 1.0)
    for one, plain_T in zip(drawn, plain_BT, strict=True):
        assert one.log_probs == pytest.approx(plain_T[: len(one.log_probs)].tolist(), abs=1e-4)
    assert plain_BT.min() < -1


@pytest.mark.parametrize("kind", ["mpt", "gpt_neo"])
def test_architectures_that_count_places_in_the_cache_read_rows_apart(kind):
    shape = {"d_model": 32, "n_heads": 4, "n_layers": 1} if kind == "mpt" else {"hidden_size": 32, "num_heads": 4}
    layers = {} if kind == "mpt" else {"num_layers": 1, "attention_types": [[["local"], 1]]}
    assert not can_share(AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, vocab_size=80, **shape, **layers)))


def test_models_that_cannot_go_on_from_a_cache_read_rows_apart(tiny_policy):
    model = tiny_policy.model
    assert can_share(model) and not can_share(object())
    windowed = Qwen3Config(num_hidden_layers=2, hidden_size=32, num_attention_heads=4, vocab_size=80, head_dim=8,
                           use_sliding_window=True, sliding_window=8, max_window_layers=0)  # fmt: skip
    assert not can_share(AutoModelForCausalLM.from_config(windowed))
    for kind, shares in (("dynamic", False), ("linear", True)):
        rope = {"rope_type": kind, "factor": 2.0, "rope_theta": 1e4}
        rotary = LlamaConfig(num_hidden_layers=1, hidden_size=32, intermediate_size=48, num_attention_heads=4,
                             vocab_size=80, max_position_embeddings=32, rope_parameters=rope)  # fmt: skip
        assert can_share(AutoModelForCausalLM.from_config(rotary)) == shares
    model.gradient_checkpointing_enable()
    try:
        assert not can_share(model)
    finally:
        model.gradient_checkpointing_disable()


@pytest.mark.parametrize("recomputing", [False, True])
def test_policy_and_reference_share_alike(tiny_folder, recomputing):
    """With recomputed activations the policy cannot share, so the reference must not: else the first KL is not 0."""
    trainer = training_case.trainer(
        tiny_folder,
        machine=training_case.MACHINE.changed(activation_checkpointing=recomputing),
        log_prob_chunk_tokens=None,
    )
    engine = trainer.engine
    micro_batches = engine.micro_batches(PROMPTS, RESPONSES, range(3))
    with shapes_read(engine.reference) as of_reference:
        reference_BT = engine.log_probs("reference", micro_batches, 3, 5)
    with shapes_read(engine.policy) as of_policy:
        policy_BT = engine.log_probs("policy", micro_batches, 3, 5)
    assert of_reference == of_policy and torch.equal(reference_BT, policy_BT)
    assert (of_policy[0] == (1, 40)) != recomputing
