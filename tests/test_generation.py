"""A batch of responses: shared prompts read once and finished rows dropped, without changing a sample."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from astarpo.common.seeds import derive_seed
from astarpo.sampling import Request
from astarpo.sampling.generation import SMALL_BATCH, HalfHaveEnded
from astarpo.sampling.settings import SamplingSettings
from astarpo.sampling.transformers_engine import TransformersSampler, shared_beginning

# So many end tokens that responses of a random model end here and there.
ENDS = list(range(3, 25))
T1 = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=30)


@contextmanager
def shapes_read(policy):
    """The shapes of what the model is given, rows by tokens."""
    shapes = []
    hook = policy.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, given: shapes.append(tuple(given[0].shape))
    )
    try:
        yield shapes
    finally:
        hook.remove()


def requests(prompts, each):
    return [
        Request(str(number), index, derive_seed(number, index), prompt)
        for number, prompt in enumerate(prompts)
        for index in range(each)
    ]


def drawn(policy, asked, batch_size, settings=T1):
    sampler = TransformersSampler(policy.model, policy.tokenizer, ENDS, batch_size)
    return sampler.sample(asked, settings)


@pytest.mark.parametrize(
    "settings",
    [
        T1,
        SamplingSettings(temperature=0.7, top_p=0.9, max_new_tokens=30),
        SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=8),
    ],
)
def test_samples_are_those_of_requests_drawn_alone(tiny_policy, settings):
    asked = requests([[40, 41, 42], [50, 51], [60]], 12)
    together = drawn(tiny_policy, asked, 36, settings)
    alone = drawn(tiny_policy, asked, 1, settings)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    assert [one.finish_reason for one in together] == [one.finish_reason for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
        assert one.logprob_sum == pytest.approx(sum(one.log_probs), abs=1e-9)


def test_rows_that_have_ended_are_left_out(tiny_policy):
    with shapes_read(tiny_policy) as shapes:
        found = drawn(tiny_policy, requests([[40, 41, 42]], 64), 64)
    lengths = [len(one.token_ids) for one in found]
    rows = [shape[0] for shape in shapes if shape[1] == 1]
    assert rows == sorted(rows, reverse=True) and rows[0] == 64 and rows[-1] < SMALL_BATCH
    needed = sum(lengths)
    assert needed <= sum(rows) < 1.7 * needed < 64 * max(lengths)


def test_a_prompt_that_rows_share_is_read_once(tiny_policy):
    with shapes_read(tiny_policy) as shapes:
        drawn(tiny_policy, requests([[40, 41, 42, 43], [50, 51]], 8), 16)
    assert shapes[0] == (2, 3)  # all but the last token, which every row reads
    assert shapes[1] == (16, 1)


def test_prompts_of_their_own_are_read_by_generate(tiny_policy):
    with shapes_read(tiny_policy) as shapes:
        drawn(tiny_policy, requests([[40, 41, 42, 43], [50, 51]], 1), 16)
    assert shapes[0] == (2, 4)


SHOTS = [(7 * i) % 50 + 30 for i in range(40)]


@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize(
    "settings", [T1, SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=8)], ids=["T1", "greedy"]
)
def test_few_shot_prompts_are_drawn_as_if_alone(tiny_policy, each, settings):
    asked = requests([[*SHOTS, 40, 41, 42], [*SHOTS, 50], [*SHOTS, 60, 61, 62, 63, 64]], each)
    together = drawn(tiny_policy, asked, len(asked), settings)
    alone = drawn(tiny_policy, asked, 1, settings)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


@pytest.mark.parametrize(("each", "then"), [(1, [(3, 5)]), (8, [(3, 4), (24, 1)])])
def test_what_all_prompts_share_is_read_by_one_row(tiny_policy, each, then):
    asked = requests([[*SHOTS, 40, 41, 42], [*SHOTS, 50], [*SHOTS, 60, 61, 62, 63, 64]], each)
    with shapes_read(tiny_policy) as shapes:
        drawn(tiny_policy, asked, len(asked))
    assert shapes[0] == (1, 40) and shapes[1 : 1 + len(then)] == then


def test_one_prompt_for_all_rows_is_read_by_one_row(tiny_policy):
    with shapes_read(tiny_policy) as shapes:
        drawn(tiny_policy, requests([SHOTS], 8), 8)
    assert shapes[:2] == [(1, 39), (8, 1)]


def test_shared_beginnings_end_before_the_last_token():
    assert shared_beginning([SHOTS, [*SHOTS, 1]]) == 39 and shared_beginning([[*SHOTS, 2], [*SHOTS, 1]]) == 40
    assert shared_beginning([SHOTS]) == 0 == shared_beginning([[1, *SHOTS], SHOTS])
    assert shared_beginning([[*SHOTS[:20], 1, 2], [*SHOTS[:20], 3, 2], [*SHOTS[:18], 3, 2]]) == 18


def test_a_prompt_that_begins_with_the_pad_token_is_not_taken_for_padding(tiny_policy):
    pad = tiny_policy.tokenizer.pad_token_id
    asked = requests([[pad, 40, 41], [40, 41]], 10)
    together, alone = drawn(tiny_policy, asked, 20), drawn(tiny_policy, asked, 1)
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    assert alone[0].log_probs[0] != pytest.approx(alone[10].log_probs[0], abs=1e-6)


def test_one_token_prompts_and_one_token_responses(tiny_policy):
    settings = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=1)
    found = drawn(tiny_policy, requests([[40]], 100), 50, settings)
    assert [len(one.token_ids) for one in found] == [1] * 100
    assert {one.finish_reason for one in found} == {"stop", "length"}


def test_half_have_ended():
    half = HalfHaveEnded(torch.tensor([1, 2]), 4)

    def answer(*last):
        said = half(torch.tensor([[9, token] for token in last]), None)
        assert len(set(said.tolist())) == 1 and said.shape == (4,)
        return bool(said[0])

    assert not answer(1, 5, 5, 5)
    assert not answer(0, 5, 5, 5)  # padding behind the end of the first row, which is remembered
    assert answer(0, 5, 2, 5)


def test_what_is_drawn_follows_the_model(tiny_policy):
    """The first token of ten thousand samples of one shared prompt, against the model's own distribution."""
    prompt, count = [40, 41, 42], 10_000
    found = drawn(
        tiny_policy, requests([prompt], count), 1000, SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=1)
    )
    with torch.no_grad():
        expected = tiny_policy.model(torch.tensor([prompt])).logits[0, -1].softmax(-1).numpy()
    shares = np.bincount([one.token_ids[0] for one in found], minlength=len(expected)) / count
    assert (np.abs(shares - expected) < 6 * np.sqrt(expected / count)).all()
