"""Sampling with transformers: determined by seeds, not by batches, and from the right distribution."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.common.seeds import derive_seed
from astarpo.memory.check import shape_of_folder
from astarpo.model.loading import load_policy_without_weights
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.sampling import Request, vllm_engine
from astarpo.sampling.engines import check_engine
from astarpo.sampling.seeded_choice import SeededChoice
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.sampling.uniforms import uniforms
from astarpo.sampling.vllm_engine import VllmMachine, _its_words

T1 = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=12)


def requests(policy, count=12):
    texts = ["1+2", "3+4-5", "7", "10+20+30"]
    return [
        Request(f"p{i}", 0, derive_seed(0, i), policy.tokenizer(texts[i % 4] + "\n")["input_ids"]) for i in range(count)
    ]


def sampler(policy, batch_size=64):
    return TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, batch_size)


def test_batch_size_and_order_change_no_sample(tiny_policy):
    asked = requests(tiny_policy)
    together = sampler(tiny_policy).sample(asked, T1)
    by_threes = sampler(tiny_policy, 3).sample(asked, T1)
    backwards = sampler(tiny_policy, 5).sample(asked[::-1], T1)[::-1]
    ids = [drawn.token_ids for drawn in together]
    assert ids == [drawn.token_ids for drawn in by_threes] == [drawn.token_ids for drawn in backwards]


def test_other_seeds_give_other_samples(tiny_policy):
    prompt = tiny_policy.tokenizer("1+2\n")["input_ids"]
    asked = [Request("p", index, derive_seed(0, "p", index), prompt) for index in range(8)]
    drawn = sampler(tiny_policy).sample(asked, T1)
    assert len({tuple(one.token_ids) for one in drawn}) == 8


def test_greedy_is_the_likeliest_token_each_time(tiny_policy):
    prompt = tiny_policy.tokenizer("1+2\n")["input_ids"]
    drawn = sampler(tiny_policy).sample(
        [Request("p", 0, 0, prompt)], SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=5)
    )[0]
    tokens = list(prompt)
    for token in drawn.token_ids:
        with torch.no_grad():
            assert int(tiny_policy.model(torch.tensor([tokens])).logits[0, -1].argmax()) == token
        tokens.append(token)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprob_sum_is_what_training_computes(tiny_policy, temperature):
    asked = requests(tiny_policy)
    drawn = sampler(tiny_policy).sample(asked, SamplingSettings(temperature=temperature, top_p=1.0, max_new_tokens=12))
    batch = collate([a.prompt_token_ids for a in asked], [d.token_ids for d in drawn], [1])
    log_probs_BT, _ = token_log_probs(tiny_policy.model, batch, temperature)
    assert log_probs_BT.sum(-1).tolist() == pytest.approx([d.logprob_sum for d in drawn], abs=1e-4)


def test_finish_reason_and_end_token(tiny_policy):
    end = tiny_policy.end_token_ids[0]
    asked = [Request("p", i, derive_seed(i), [5, 6]) for i in range(600)]
    drawn = sampler(tiny_policy, 600).sample(asked, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=4))
    stopped = [one for one in drawn if one.finish_reason == "stop"]
    assert stopped and all(one.token_ids[-1] == end for one in stopped)
    cut = [one for one in drawn if one.finish_reason == "length"]
    assert cut and all(len(one.token_ids) == 4 and end not in one.token_ids for one in cut)


def test_choice_follows_the_distribution():
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    count = 40_000
    noise_BT = uniforms([derive_seed("draw", i) for i in range(count)], 1)
    choice = SeededChoice(T1, noise_BT, prompt_width=1)
    scores_BV = torch.tensor(probabilities).log().float().expand(count, 4)
    chosen = choice(torch.zeros(count, 1), scores_BV).argmax(-1)
    shares = np.bincount(chosen.numpy(), minlength=4) / count
    # Five standard errors: fails by chance less than once in a million.
    assert (np.abs(shares - probabilities) < 5 * np.sqrt(probabilities / count)).all()


def test_each_token_of_a_row_is_chosen_by_its_own_noise():
    """Of four equal tokens 0.1, 0.6 and 0.9 choose 0, 2 and 3; the other row's 0.8, 0.3 and 0 choose 3, 1 and 0."""
    noise_BT = np.array([[0.1, 0.6, 0.9], [0.8, 0.3, 0.0]])
    choice = SeededChoice(T1, noise_BT, prompt_width=2)
    scores_BV = torch.zeros(2, 4)
    chosen = [choice(torch.zeros(2, 2 + t), scores_BV).argmax(-1).tolist() for t in range(3)]
    assert chosen == [[0, 3], [2, 1], [3, 0]]
    assert choice.log_probs_BT().flatten().tolist() == pytest.approx([np.log(0.25)] * 6)


def test_noise_at_the_edges_never_takes_an_impossible_token():
    scores_BV = torch.tensor([[float("-inf"), 0.0, float("-inf")]]).expand(2, 3)
    choice = SeededChoice(T1, np.array([[0.0], [np.nextafter(1.0, 0)]]), prompt_width=1)
    assert choice(torch.zeros(2, 1), scores_BV).argmax(-1).tolist() == [1, 1]


def test_top_p_leaves_the_nucleus_only(tiny_policy):
    prompt = tiny_policy.tokenizer("1+2\n")["input_ids"]
    asked = [Request("p", i, derive_seed(i), prompt) for i in range(64)]
    drawn = sampler(tiny_policy).sample(asked, SamplingSettings(temperature=1.0, top_p=0.01, max_new_tokens=3))
    greedy = sampler(tiny_policy).sample(asked[:1], SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=3))[0]
    with torch.no_grad():
        top = tiny_policy.model(torch.tensor([prompt])).logits[0, -1].softmax(-1).max().item()
    if top > 0.01:  # the nucleus is one token
        assert {one.token_ids[0] for one in drawn} == {greedy.token_ids[0]}
    assert len({tuple(one.token_ids) for one in drawn}) < 64


def test_the_models_own_generation_config_does_not_matter(tiny_policy):
    asked = requests(tiny_policy, 4)
    before = [drawn.token_ids for drawn in sampler(tiny_policy).sample(asked, T1)]
    config = tiny_policy.model.generation_config
    config.repetition_penalty, config.max_new_tokens, config.suppress_tokens = (
        5.0,
        2,
        [before[0][0]],
    )
    try:
        after = [drawn.token_ids for drawn in sampler(tiny_policy).sample(asked, T1)]
    finally:
        config.repetition_penalty, config.max_new_tokens, config.suppress_tokens = None, None, None
    assert after == before


def test_sampling_leaves_the_host_random_state_alone(tiny_policy):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    sampler(tiny_policy).sample(requests(tiny_policy, 2), T1)
    assert torch.equal(torch.rand(2), expected)


def test_vllm_that_is_not_installed_is_said_with_the_command_that_installs_it(tiny_folder):
    if find_spec("vllm") is not None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(InputError, match="make install-gpu"):
        check_engine("vllm", tiny_folder)


def test_a_policy_without_weights_talks_like_the_one_with_them(tiny_folder, tiny_policy):
    bare = load_policy_without_weights(tiny_folder)
    assert bare.end_token_ids == tiny_policy.end_token_ids
    assert {weight.device.type for weight in bare.model.parameters()} == {"meta"}
    text = "1+2\n"
    assert bare.tokenizer(text)["input_ids"] == tiny_policy.tokenizer(text)["input_ids"]


@pytest.mark.parametrize(
    ("device", "trained", "share", "words"),
    [
        ("cuda", False, 0.9, "gpu_memory_utilization is 0.9, as no other program should be on the GPU"),
        ("cuda", True, 0.25, "gpu_memory_utilization is machine.sampler_memory_share = 0.25"),
        ("cpu", False, 0.25, "kv_cache_memory_bytes is machine.sampler_memory_share = 0.25 of the RAM"),
        ("cpu", True, 0.25, "kv_cache_memory_bytes is machine.sampler_memory_share = 0.25 of the RAM"),
    ],
)
def test_vllm_takes_most_of_a_gpu_that_it_has_alone(device, trained, share, words):
    settings = MachineSettings(
        device=device, sampling_batch=64, sampler_memory_share=0.25, sampler_tensor_parallel=2, sampler_sleep_level=1
    )
    machine = VllmMachine.of(settings, trained, trust_remote_code=True)
    assert machine == VllmMachine(device, 64, 2, share, sleep_level=1, trust_remote_code=True)
    places = "machine.sampling_batch = 64" if device == "cpu" else "what its cache holds"
    assert _its_words(machine, 200, trained) == (
        f"in vLLM's words {words}, tensor_parallel_size is machine.sampler_tensor_parallel = 2, max_num_seqs is "
        f"{places}, and max_model_len is max_prompt_tokens + max_new_tokens = 200"
    )


def test_on_a_cpu_vllm_draws_a_batch_at_a_time_and_on_a_gpu_what_its_cache_holds(tiny_folder, monkeypatch):
    shape = shape_of_folder(tiny_folder)
    monkeypatch.setattr(vllm_engine, "total_bytes", lambda device: int(8.1e9))
    keys_and_values = 2 * shape.layers * shape.kv_width * 2
    room = 0.5 * 8.1e9 - 4e9 - 2 * shape.parameters
    on_a_gpu, longest = VllmMachine("cuda", 64, memory_share=0.5), 8192
    expected = int(room // (longest * keys_and_values))
    assert 1 < expected < 512
    assert vllm_engine._at_a_time(tiny_folder, "bfloat16", longest, on_a_gpu) == expected
    assert vllm_engine._at_a_time(tiny_folder, "bfloat16", longest, VllmMachine("cpu", 64)) == 64


@pytest.mark.parametrize(("processes", "executor"), [(1, "uni"), (2, "external_launcher")])
def test_vllm_joins_the_processes_of_a_training(processes, executor):
    """Otherwise each engine has rank 0, and takes the first GPU. torch's "fake" processes send nothing."""
    assert vllm_engine._executor(1) == "uni"
    distributed.init_process_group("fake", store=FakeStore(), rank=processes - 1, world_size=processes)
    try:
        assert vllm_engine._executor(1) == executor
        assert vllm_engine._executor(2) == "mp"
    finally:
        distributed.destroy_process_group()
