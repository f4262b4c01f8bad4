"""The gap between the sampler's and the trainer's log-probabilities: its numbers, and that it stops a training."""

import math

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.training import sampler_gap


def test_mean_p95_and_largest_of_a_hundred_gaps():
    log_probs_BT = -torch.arange(1.0, 101.0).reshape(10, 10)
    mask_BT = torch.ones(10, 10, dtype=torch.bool)
    gaps_N = sampler_gap.token_gaps(log_probs_BT, torch.zeros(10, 10), mask_BT)
    found = sampler_gap.summarise(gaps_N.split(7))
    assert found == {"sampler_gap_mean": 50.5, "sampler_gap_p95": 96.0, "sampler_gap_max": 100.0}


def test_masked_tokens_do_not_count():
    sampled_BT = sampler_gap.pad([[-1.0, -2.0], [-3.0]], 3)
    assert sampled_BT.tolist() == [[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]]
    mask_BT = torch.tensor([[True, True, False], [True, False, False]])
    gaps_N = sampler_gap.token_gaps(torch.full((2, 3), -1.0), sampled_BT, mask_BT)
    assert gaps_N.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("mean", [0.2, math.nan])
def test_a_gap_above_the_limit_or_no_number_stops(mean):
    found = dict(zip(sampler_gap.GAPS, (mean, 0.3, 0.4), strict=True))
    with pytest.raises(InputError, match=r"step 7: .*max_sampler_gap \(0.1\)"):
        sampler_gap.check(found, 0.1, 7)
    sampler_gap.check(found, None, 7)


def test_training_records_the_gap_from_step_0(tiny_folder, tmp_path):
    rows = case.trainer(tiny_folder).run(tmp_path).metrics
    for row in rows:
        assert 0.0 <= row["sampler_gap_mean"] <= row["sampler_gap_max"]
        assert 0.0 <= row["sampler_gap_p95"] <= row["sampler_gap_max"]  # the mean may be above it
        assert row["sampler_gap_max"] < 1e-4


class Liar:
    """A sampler that is right at first, and from the second look on does not follow the policy."""

    def __init__(self, sampler, from_call):
        self.sampler, self.from_call, self.calls = sampler, from_call, 0

    def sample(self, requests, settings, on_batch=None):
        self.calls += 1
        drawn = self.sampler.sample(requests, settings, on_batch)
        if self.calls >= self.from_call:
            for one in drawn:
                one.log_probs[:] = [value - 0.2 for value in one.log_probs]
        return drawn

    def weights_changed(self):
        self.sampler.weights_changed()

    def rest(self):
        self.sampler.rest()


# Calls: validation and the first look before training, then each step's rollout.
@pytest.mark.parametrize(("from_call", "step"), [(1, 0), (3, 1)])
def test_training_stops_where_the_sampler_does_not_follow(tiny_folder, tmp_path, from_call, step):
    made = case.trainer(tiny_folder)
    made.sampler = Liar(made.sampler, from_call)
    with pytest.raises(InputError, match=f"step {step}: .* differ by 0.2 nats"):
        made.run(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".pt"], "no checkpoint of it"
