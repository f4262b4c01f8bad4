"""Sampling with the real vLLM on a tiny model; `make test-vllm` installs it. Skipped without vLLM."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.common.seeds import derive_seed
from astarpo.model.loading import load_policy
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.lora import inject
from astarpo.model.policy import Policy
from astarpo.model.scratch import build_scratch_policy
from astarpo.model.settings import Lora
from astarpo.sampling import Completion, Request
from astarpo.sampling.follower import MakeFollower
from astarpo.sampling.second_process import SamplerProcess
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training import sampler_gap
from astarpo.training.engine import TorchEngine
from astarpo.training.loop import Trainer

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
pytest.importorskip("vllm", reason="vLLM is not installed; `make test-vllm` installs and tests it")

from astarpo.sampling import vllm_engine
from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler
from astarpo.sampling.vllm_process import check_can_load
from astarpo.sampling.vllm_weights import (
    RELOADING,
    StaleWeights,
    WeightLink,
    _no_false_alarm,
    _weightless_embeddings,
)

T1 = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=12)
MACHINE = VllmMachine("cpu", batch_size=16, memory_share=0.02, sleep_level=1)
LONG = [5 + index % 200 for index in range(150)]  # more than a block of the prefix cache


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a tied head, wide enough for vLLM's attention."""
    policy = build_scratch_policy(
        seed=0,
        layers=2,
        hidden_size=64,
        intermediate_size=64,
        heads=2,
        kv_heads=1,
        max_positions=256,
        whole_tokens=["\\boxed{"],
    )
    made = tmp_path_factory.mktemp("vllm") / "model"
    policy.save(made)
    return made


@pytest.fixture(scope="module")
def started(folder: Path) -> tuple[Policy, VllmSampler]:
    """A policy and its sampler, with random streams and threads as they were before."""
    policy = load_policy(folder)
    torch.set_num_threads(1)
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    sampler = VllmSampler(folder, policy.tokenizer, policy.end_token_ids, "float32", 200, MACHINE, policy.model)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2, "vLLM has switched torch.set_num_threads off"
    torch.set_num_threads(1)
    return policy, sampler


@pytest.fixture
def pair(started: tuple[Policy, VllmSampler], folder: Path) -> tuple[Policy, VllmSampler]:
    """The pair with the folder's weights on both sides."""
    policy, sampler = started
    policy.model.load_state_dict(load_policy(folder).model.state_dict())
    sampler.weights_changed()
    sampler.sample([Request("p", 0, 0, [5, 6])], T1)
    return policy, sampler


def requests(policy: Policy, count: int = 12) -> list[Request]:
    texts = ["1+2", "3+4-5", "7", "10+20+30"]
    return [
        Request(f"p{i}", 0, derive_seed(0, i), policy.tokenizer(texts[i % 4] + "\n")["input_ids"]) for i in range(count)
    ]


def gap(policy: Policy, asked: list[Request], drawn: list[Completion], temperature: float = 1.0) -> dict[str, float]:
    """The gap as a training measures it."""
    batch = collate(
        [one.prompt_token_ids for one in asked],
        [one.token_ids for one in drawn],
        policy.end_token_ids,
    )
    with torch.no_grad():
        log_probs_BT, _ = token_log_probs(policy.model, batch, temperature)
    sampled_BT = sampler_gap.pad([one.log_probs for one in drawn], log_probs_BT.shape[1])
    return sampler_gap.summarise([sampler_gap.token_gaps(log_probs_BT, sampled_BT, batch.mask_BT)])


def disturb(model: Any, only: str = "") -> None:
    """Move the weights whose name contains the text by noise that is easily seen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if only in name:
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))


def test_greedy_tokens_are_those_of_transformers(pair):
    policy, sampler = pair
    greedy, asked = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=20), requests(policy, 4)
    other = TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, 8)
    ours, theirs = sampler.sample(asked, greedy), other.sample(asked, greedy)
    for one, same in zip(ours, theirs, strict=True):
        assert (one.token_ids, one.text, one.finish_reason) == (
            same.token_ids,
            same.text,
            same.finish_reason,
        )
        assert one.log_probs == pytest.approx(same.log_probs, abs=1e-4)
        assert one.logprob_sum == pytest.approx(same.logprob_sum, abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_what_training_computes(pair, temperature):
    policy, sampler = pair
    asked = requests(policy)
    drawn = sampler.sample(asked, SamplingSettings(temperature=temperature, top_p=1.0, max_new_tokens=12))
    assert gap(policy, asked, drawn, temperature)["sampler_gap_max"] < 1e-4
    assert [sum(one.log_probs) for one in drawn] == [one.logprob_sum for one in drawn]


def test_end_token_and_finish_reason(pair):
    policy, sampler = pair
    end = policy.end_token_ids[0]
    asked = [Request("p", i, derive_seed(i), [5, 6]) for i in range(300)]
    drawn = sampler.sample(asked, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=8))
    stopped = [one for one in drawn if one.finish_reason == "stop"]
    assert stopped and all(one.token_ids.index(end) == len(one.token_ids) - 1 for one in stopped)
    cut = [one for one in drawn if one.finish_reason == "length"]
    assert cut and all(len(one.token_ids) == 8 and end not in one.token_ids for one in cut)


def test_responses_are_announced_as_they_finish(pair):
    policy, sampler = pair
    asked, announced, unfinished = requests(policy, 40), [], []

    def note(places: Any, ones: Any) -> None:
        announced.extend(zip(places, ones, strict=True))
        unfinished.append(sampler.engine.llm_engine.get_num_unfinished_requests())

    drawn = sampler.sample(asked, T1, on_finished=note)
    assert sorted(place for place, _ in announced) == list(range(40))
    assert all(drawn[place] == one for place, one in announced)
    assert unfinished[0] >= 40 - MACHINE.batch_size and unfinished[-1] == 0


def test_a_second_process_draws_with_the_newest_weights(folder):
    policy = load_policy(folder)
    machine = case.MACHINE.changed(sampler_memory_share=0.02)
    make = MakeFollower(folder, policy.end_token_ids, False, "vllm", "float32", 200, machine)
    with SamplerProcess(make, dict(policy.model.named_parameters()), "cpu") as process:
        old = gap(policy, requests(policy), process.sample(requests(policy), T1))
        disturb(policy.model)
        stale = gap(policy, requests(policy), process.sample(requests(policy), T1))
        process.weights_changed()
        new = gap(policy, requests(policy), process.sample(requests(policy), T1))
    assert old["sampler_gap_max"] < 1e-4 and new["sampler_gap_max"] < 1e-4 < 0.1 < stale["sampler_gap_max"]


def test_equal_prompts_get_different_samples_and_equal_seeds_the_same(pair):
    policy, sampler = pair
    prompt = requests(policy, 1)[0].prompt_token_ids
    asked = [Request("a", 0, derive_seed("a"), prompt), Request("b", 0, derive_seed("b"), prompt)]
    first, second = sampler.sample(asked, T1)
    assert first.token_ids != second.token_ids
    backwards = sampler.sample([*asked[::-1], *requests(policy)], T1)
    assert [one.token_ids for one in backwards[:2]] == [second.token_ids, first.token_ids]


def test_new_weights_take_effect_with_the_tied_head(pair):
    policy, sampler = pair
    asked = requests(policy)
    sampler.sample(asked, T1)
    disturb(policy.model)
    stale = sampler.sample(asked, T1)
    assert gap(policy, asked, stale)["sampler_gap_mean"] > 0.01
    sampler.weights_changed()
    fresh = sampler.sample(asked, T1)
    assert gap(policy, asked, fresh)["sampler_gap_max"] < 1e-4


def test_adapters_take_effect(pair, folder, monkeypatch):
    """They are pushed as part of their layers' weights."""
    pytest.importorskip("peft", reason="peft is not installed: `make test-deepspeed` installs it")
    policy, sampler = pair
    adapted = load_policy(folder)
    inject(adapted.model, Lora(rank=4, alpha=8.0), seed=0)
    monkeypatch.setattr(sampler, "_weights", WeightLink(sampler.engine, adapted.model))
    disturb(adapted.model, "lora_")
    asked = requests(policy)
    sampler.weights_changed()
    drawn = sampler.sample(asked, T1)
    assert gap(adapted, asked, drawn)["sampler_gap_max"] < 1e-4
    assert gap(policy, asked, drawn)["sampler_gap_mean"] > 0.01


def test_a_tied_head_that_is_not_pushed_is_caught(pair, monkeypatch):
    policy, sampler = pair
    disturb(policy.model, "embed")
    everything = policy.model.state_dict()
    del everything["lm_head.weight"]
    monkeypatch.setattr(policy.model, "state_dict", lambda **_: everything)
    sampler.weights_changed()
    asked = requests(policy)
    found = gap(policy, asked, sampler.sample(asked, T1))
    with pytest.raises(InputError, match="other weights"):
        sampler_gap.check(found, 0.01, 1)


def test_a_stale_prefix_cache_is_caught(pair, monkeypatch):
    policy, sampler = pair
    asked = [Request("p", i, derive_seed(i), LONG) for i in range(4)]
    sampler.sample(asked, T1)
    disturb(policy.model)
    sampler.weights_changed()
    monkeypatch.setattr(sampler.engine, "reset_prefix_cache", lambda: True)  # forgotten
    found = gap(policy, asked, sampler.sample(asked, T1))
    with pytest.raises(InputError, match="max_sampler_gap"):
        sampler_gap.check(found, 0.01, 1)
    monkeypatch.undo()
    sampler.weights_changed()
    assert gap(policy, asked, sampler.sample(asked, T1))["sampler_gap_max"] < 1e-4


def test_a_cache_that_cannot_be_dropped_is_an_error(pair, monkeypatch):
    _, sampler = pair
    monkeypatch.setattr(sampler.engine, "reset_prefix_cache", lambda: False)
    sampler.weights_changed()
    with pytest.raises(StaleWeights, match="prefix cache"):
        sampler.sample([Request("p", 0, 1, [5, 6])], T1)


def test_comparison_sees_weights_that_were_not_pushed(pair):
    policy, sampler = pair
    sampler.sample(requests(policy, 1), T1)
    sampler._weights.check()
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= sampler._weights.compared
    assert "model.layers.0.self_attn.v_proj.bias" in sampler._weights.compared  # fused by vLLM
    disturb(policy.model, "k_proj.bias")
    with pytest.raises(StaleWeights, match=r"layers.0.self_attn.k_proj.bias.*\(2 of "):
        sampler._weights.check()


class Written(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_only_the_false_alarm_of_a_push_is_kept_out_of_the_log(pair, monkeypatch):
    """Rotary embeddings have no weights; of other layers the warning would be true."""
    _, sampler = pair
    written = Written()
    logging.getLogger("vllm").addHandler(written)
    try:
        sampler._weights.push()
        assert not [message for message in written.messages if "Failed to load" in message]
        with _no_false_alarm(sampler._weights._weightless):
            for layer in ("RotaryEmbedding", "FourierRotaryEmbedding", "Linear"):
                logging.getLogger(RELOADING).warning("%s: Failed to load weights", layer)
        kept = [f"{name}: Failed to load weights" for name in ("FourierRotaryEmbedding", "Linear")]
        assert written.messages[-2:] == kept
        monkeypatch.setattr(sampler._weights, "_weightless", set())
        written.messages.clear()
        sampler._weights.push()
        assert written.messages.count("RotaryEmbedding: Failed to load weights") > 0  # vLLM still says it
    finally:
        logging.getLogger("vllm").removeHandler(written)


def test_embeddings_with_weights_of_their_own_are_not_silenced():
    class LearnedRotaryEmbedding(torch.nn.Linear): ...

    class FixedRotaryEmbedding(torch.nn.Module): ...

    model = torch.nn.ModuleList([LearnedRotaryEmbedding(1, 1), FixedRotaryEmbedding(), torch.nn.Linear(1, 1)])
    worker: Any = SimpleNamespace(model_runner=SimpleNamespace(get_model=lambda: model))
    assert _weightless_embeddings(worker) == {"FixedRotaryEmbedding"}


def test_a_rest_changes_no_sample(pair):
    policy, sampler = pair
    asked = requests(policy, 4)
    before = sampler.sample(asked, T1)
    sampler.rest()
    assert sampler.sample(asked, T1) == before


def test_a_call_does_not_depend_on_the_calls_before_it(pair, monkeypatch):
    """So a job that was killed between two calls draws, to the last bit, what it would have drawn."""
    _, sampler = pair
    monkeypatch.setattr(vllm_engine, "BATCHES_PER_CALL", 1)
    asked = [Request(f"p{i}", 0, derive_seed(0, i), [*LONG, 5 + i % 3]) for i in range(40)]
    finished: list[int] = []
    resets: list[bool] = []
    reset = sampler.engine.reset_prefix_cache
    monkeypatch.setattr(sampler.engine, "reset_prefix_cache", lambda: resets.append(reset()) or resets[-1])
    whole = sampler.sample(asked, T1, lambda places, _: finished.extend(places))
    assert finished == list(range(40)) and resets == [True] * 3
    for start in (16, 32):  # calls draw sixteen responses each
        sampler.engine.reset_prefix_cache()  # as in a new process
        assert sampler.sample(asked[start:], T1) == whole[start:]


def test_a_prompt_without_room_for_its_response(pair):
    _, sampler = pair
    with pytest.raises(InputError, match="190 tokens and a response of 12"):
        sampler.sample([Request("p", 0, 1, [5] * 190)], T1)


def test_an_architecture_that_vllm_does_not_know(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchForCausalLM"]}')
    with pytest.raises(InputError, match=r"NoSuchForCausalLM.*sampling_engine: transformers"):
        check_can_load(tmp_path)


def test_a_training_follows_its_policy_and_goes_on_from_a_checkpoint(pair, folder, tmp_path):
    policy, sampler = pair
    settings = case.SETTINGS.changed(steps=3, lr=3e-3, max_sampler_gap=1e-3)
    prompts = case.prompts(policy)

    def trainer(steps: int) -> Trainer:
        policy.model.load_state_dict(load_policy(folder).model.state_dict())
        now = settings.changed(steps=steps)
        engine = TorchEngine(policy, load_policy(folder), now, case.MACHINE.micro_batch)
        return case.CheckedTrainer(engine, sampler, prompts, prompts[:2], now, case.MACHINE, 0)

    start = policy.model.model.norm.weight.clone()
    rows = trainer(3).run(tmp_path).metrics
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert max(row["sampler_gap_max"] for row in rows) < 1e-4
    assert (policy.model.model.norm.weight - start).abs().max() > 1e-3  # far enough to be noticed
    more = trainer(4).run(tmp_path).metrics
    assert more[:4] == rows and more[4]["sampler_gap_max"] < 1e-4


@pytest.mark.parametrize(("limit", "reason"), [(1e-3, "max_sampler_gap"), (100.0, "the first rollout")])
def test_a_sampler_that_keeps_old_weights_stops_the_training(pair, folder, tmp_path, monkeypatch, limit, reason):
    policy, sampler = pair
    monkeypatch.setattr(sampler, "weights_changed", lambda: None)
    settings = case.SETTINGS.changed(lr=1e-1, lr_warmup_steps=0, max_sampler_gap=limit)
    prompts = case.prompts(policy)
    engine = TorchEngine(policy, load_policy(folder), settings, case.MACHINE.micro_batch)
    made = Trainer(engine, sampler, prompts, [], settings, case.MACHINE, 0)
    with pytest.raises(InputError, match=f"step 2: .*{reason}.*other weights"):
        made.run(tmp_path)


def test_a_size_that_vllm_cannot_compute_is_said_at_the_start(tmp_path):
    code = (
        "import sys; from astarpo.model.scratch import build_scratch_policy as build;"
        "from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler;"
        "made = build(seed=0, layers=1, hidden_size=32, intermediate_size=32, heads=4, kv_heads=4,"
        " max_positions=64, whole_tokens=[]); made.save(sys.argv[1]);"
        "VllmSampler(sys.argv[1], made.tokenizer, [1], 'float32', 64, VllmMachine('cpu', 4, memory_share=0.02))"
    )
    # A process of its own: vLLM starts once in each.
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")],
        env={**os.environ, "PYTHONPATH": "workflow_scripts"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert ran.returncode == 1
    assert "vLLM does not start: " in ran.stderr and "head" in ran.stderr.splitlines()[-1]


def test_each_process_of_a_training_has_its_own_engine(folder, tmp_path):
    """With the wrong launcher all of them report rank 0, and on GPUs would share the first one."""
    ranks = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    script = str(Path(__file__).with_name("vllm_ranks.py"))
    done = subprocess.run([*ranks, script, str(folder), str(tmp_path)], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [one["ranks"] for one in found] == [[[0, 0]], [[1, 1]]]
    assert found[0]["prompts"] != found[1]["prompts"]
    for one in found:
        for ours, theirs in (one["before"], one["after"]):
            assert ours == theirs
        assert one["before"] != one["after"]
