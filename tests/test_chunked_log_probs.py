"""Log-probabilities in chunks: equal to the plain softmax in value and gradient, and less in memory."""

from types import SimpleNamespace

import pytest
import torch

from astarpo.model import log_probs
from astarpo.model.chunked_log_probs import Chunking, Head, find_head, log_probs_of_hidden
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.precision import MasterWeights

END = [1]


def case(count=7, width=5, vocabulary=11, bias=True, dtype=torch.float64):
    """Hidden states, labels and a linear head with random values."""
    random = torch.Generator().manual_seed(0)
    hidden_NH = torch.randn(count, width, generator=random, dtype=dtype).requires_grad_()
    linear = torch.nn.Linear(width, vocabulary, bias=bias, dtype=dtype)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=dtype))
    labels_N = torch.randint(vocabulary, (count,), generator=random)
    return hidden_NH, labels_N, linear, random


def plain(hidden_NH, labels_N, head, temperature):
    """Log-probabilities and entropies by autograd through all logits."""
    logits_NV = head.linear(hidden_NH) * head.scale
    if head.softcap is not None:
        logits_NV = head.softcap * torch.tanh(logits_NV / head.softcap)
    all_NV = (logits_NV / temperature).log_softmax(-1)
    return all_NV.gather(-1, labels_N[:, None])[:, 0], -(all_NV.exp() * all_NV).sum(-1)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("entropy", ["none", "detached", "with_gradient"])
@pytest.mark.parametrize(
    ("temperature", "scale", "softcap", "bias"),
    [(1.0, 1.0, None, False), (0.7, 1.0, None, True), (0.7, 0.25, 2.5, True), (1.3, 1.0, 1.5, False)],
)
def test_equals_the_full_softmax_in_value_and_gradient(chunk, entropy, temperature, scale, softcap, bias):
    hidden_NH, labels_N, linear, random = case(bias=bias)
    head = Head(linear, scale, softcap)
    upstream_N, upstream_entropy_N = torch.randn(2, 7, generator=random, dtype=torch.float64)
    variables = [hidden_NH, *linear.parameters()]
    log_probs_N, entropy_N = plain(hidden_NH, labels_N, head, temperature)
    loss = (log_probs_N * upstream_N).sum()
    if entropy == "with_gradient":
        loss = loss + (entropy_N * upstream_entropy_N).sum()
    expected = torch.autograd.grad(loss, variables)

    found_N, found_entropy_N = log_probs_of_hidden(hidden_NH, labels_N, head, Chunking(temperature, chunk, entropy))
    loss = (found_N * upstream_N).sum()
    if entropy == "with_gradient":
        loss = loss + (found_entropy_N * upstream_entropy_N).sum()
    found = torch.autograd.grad(loss, variables)

    assert torch.allclose(found_N, log_probs_N, rtol=0, atol=1e-13)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    if entropy != "none":
        assert torch.allclose(found_entropy_N, entropy_N, rtol=0, atol=1e-13)
        assert found_entropy_N.requires_grad == (entropy == "with_gradient")


def test_gradcheck():
    hidden_NH, labels_N, linear, _ = case(count=5, width=3, vocabulary=4)

    def by_tensors(hidden_NH, weight_VH, bias_V):
        head = Head(SimpleNamespace(weight=weight_VH, bias=bias_V), 0.5, 3.0)
        return log_probs_of_hidden(hidden_NH, labels_N, head, Chunking(0.8, 2, "with_gradient"))

    assert torch.autograd.gradcheck(by_tensors, (hidden_NH, linear.weight, linear.bias))


def test_no_token_gives_no_log_prob_and_no_gradient():
    hidden_NH, labels_N, linear, _ = case(count=0)
    found_N, _ = log_probs_of_hidden(hidden_NH, labels_N, Head(linear, 1.0, None), Chunking(1.0, 4, "none"))
    found_N.sum().backward()
    assert found_N.shape == (0,) and not linear.weight.grad.any()


def test_no_tensor_has_the_logits_of_more_than_a_chunk():
    hidden_NH, labels_N, linear, _ = case(count=64, vocabulary=50)
    largest = [0]

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and made.shape[-1:] == (50,) and made.dim() == 2:
                largest[0] = max(largest[0], made.shape[0])
            return made

    with Watch():
        found_N, entropy_N = log_probs_of_hidden(
            hidden_NH, labels_N, Head(linear, 1.0, None), Chunking(1.0, 16, "with_gradient")
        )
        (found_N.sum() + entropy_N.sum()).backward()
    assert largest[0] == 16


@pytest.fixture
def always(monkeypatch):
    """Cut logits of any size."""
    monkeypatch.setattr(log_probs, "SMALL_LOGITS", 0)


def gradients(model, batch, **options):
    model.zero_grad()
    log_probs_BT, entropy_BT = token_log_probs(model, batch, 0.7, "with_gradient", **options)
    (log_probs_BT.sum(-1) @ torch.tensor([1.0, -2.0]) + entropy_BT.sum()).backward()
    return log_probs_BT, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_a_whole_model_with_a_tied_head(tiny_policy, always):
    model = tiny_policy.model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    batch = collate([[5, 6], [5, 6, 7, 8]], [[10, 11, 1], [12, 13, 14, 15, 1]], END)
    expected_BT, expected = gradients(model, batch)
    found_BT, found = gradients(model, batch, head=find_head(model), chunk_tokens=3)
    assert torch.allclose(found_BT, expected_BT, atol=1e-5)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-5), name
    model.zero_grad()


def test_bfloat16_differs_by_rounding_only(tiny_policy, always):
    batch = collate([[5, 6], [5, 6, 7, 8]], [[10, 11, 1], [12, 13, 14, 15, 1]], END)
    with torch.autocast("cpu", torch.bfloat16):
        expected_BT, expected = gradients(tiny_policy.model, batch)
        head = find_head(tiny_policy.model)
        found_BT, found = gradients(tiny_policy.model, batch, head=head, chunk_tokens=3)
    assert found_BT.dtype == torch.float32
    assert torch.allclose(found_BT, expected_BT, atol=1e-5)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=0.02 * float(gradient.abs().max())), name
    tiny_policy.model.zero_grad()


def test_weights_in_bfloat16_are_cut_as_well(tiny_folder, always):
    model = load_policy(tiny_folder).model
    masters = MasterWeights(model)
    head = find_head(model)
    assert isinstance(head, Head), head
    batch = collate([[5, 6], [5, 6, 7, 8]], [[10, 11, 1], [12, 13, 14, 15, 1]], END)
    found = []
    for options in ({}, {"head": head, "chunk_tokens": 3}):
        log_probs_BT, entropy_BT = token_log_probs(model, batch, 0.7, "with_gradient", **options)
        (log_probs_BT.sum(-1) @ torch.tensor([1.0, -2.0]) + entropy_BT.sum()).backward()
        found.append((log_probs_BT, [master.grad for master in masters.parameters()]))
        for master in masters.parameters():
            master.grad = None
    (at_once_BT, expected), (chunked_BT, gradients_of_chunks) = found
    assert torch.allclose(chunked_BT, at_once_BT, atol=1e-5)
    for one, other in zip(gradients_of_chunks, expected, strict=True):
        assert torch.allclose(one, other, atol=0.02 * float(other.abs().max()))


def test_small_logits_are_not_cut(tiny_policy):
    batch = collate([[5, 6]], [[10, 11, 1]], END)
    expected_BT, _ = token_log_probs(tiny_policy.model, batch, 0.7)
    found_BT, _ = token_log_probs(tiny_policy.model, batch, 0.7, head=find_head(tiny_policy.model), chunk_tokens=1)
    assert torch.equal(found_BT, expected_BT)


def small(architecture, **options):
    """A random model of one layer, of an architecture of transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture,
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        **options,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("llama", {}),
        ("qwen3", {"tie_word_embeddings": True}),
        ("gemma2", {"final_logit_softcapping": 0.3}),
        ("granite", {"logits_scaling": 4.0}),
        ("cohere", {"logit_scale": 0.25}),
    ],
)
def test_architectures_with_their_own_logits(architecture, options, always):
    model = small(architecture, **options)
    head = find_head(model)
    assert isinstance(head, Head), head
    batch = collate([[5, 6], [5, 6, 7, 8]], [[10, 11, 1], [12, 13, 14, 15, 1]], END)
    expected_BT, expected = gradients(model, batch)
    found_BT, found = gradients(model, batch, head=head, chunk_tokens=3)
    assert torch.allclose(found_BT, expected_BT, atol=1e-5)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-4), name


def test_other_logits_than_the_heads_are_noticed():
    model = small("llama")
    assert isinstance(find_head(model), Head)
    forward = model.forward

    def shifted(*args, **options):
        out = forward(*args, **options)
        out.logits = out.logits * 2
        return out

    model.forward = shifted
    assert "are not those of its head alone" in find_head(model)


def test_a_head_with_hooks_or_of_another_class_is_left_alone():
    model = small("llama")
    handle = model.lm_head.register_forward_hook(lambda module, args, out: out)
    assert "hooks" in find_head(model)
    handle.remove()
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert "Sequential" in find_head(model)
