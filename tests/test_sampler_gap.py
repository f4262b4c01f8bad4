"""The gap between the sampler's and the trainer's log-probabilities: its numbers, and that it stops a training."""

import math

import pytest
import torch
import training_case as case

from astarpo.common.errors import InputError
from astarpo.model.loading import load_policy
from astarpo.model.scratch import build_scratch_policy
from astarpo.sampling.transformers_engine import TransformersSampler
from astarpo.training import sampler_gap
from astarpo.training.settings import TrainingKeys

DEFAULT = TrainingKeys.model_fields["max_sampler_gap"].default
SHARPER = 20.0  # an entropy of 4.4 nats and, in bfloat16, gaps of 0.026 nats per token


def gaps(mean: float, p95: float, signed: float) -> dict[str, float]:
    return dict(zip(sampler_gap.GAPS, (mean, p95, 1.0, signed), strict=True))


def test_mean_p95_and_largest_of_a_hundred_gaps():
    log_probs_BT = -torch.arange(1.0, 101.0).reshape(10, 10)
    mask_BT = torch.ones(10, 10, dtype=torch.bool)
    gaps_N = sampler_gap.token_gaps(log_probs_BT, torch.zeros(10, 10), mask_BT)
    gaps_N[99] = 100.0  # signed: (-1 - ... - 99 + 100) / 100
    found = sampler_gap.summarise(gaps_N.split(7))
    assert found == {
        "sampler_gap_mean": 50.5,
        "sampler_gap_p95": 96.0,
        "sampler_gap_max": 100.0,
        "sampler_gap_signed_mean": -48.5,
    }


def test_masked_tokens_do_not_count():
    sampled_BT = sampler_gap.pad([[-1.0, -2.0], [-3.0]], 3)
    assert sampled_BT.tolist() == [[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]]
    mask_BT = torch.tensor([[True, True, False], [True, False, False]])
    gaps_N = sampler_gap.token_gaps(torch.full((2, 3), -1.5), sampled_BT, mask_BT)
    assert gaps_N.tolist() == [-0.5, 0.5, 1.5]  # the trainer's minus the sampler's


@pytest.mark.parametrize("mean", [0.2, math.nan])
def test_a_gap_above_the_limit_or_no_number_stops(mean):
    found = gaps(mean, 0.3, 0.0)
    with pytest.raises(InputError, match=r"step 7: .*max_sampler_gap \(0.1\)"):
        sampler_gap.check(found, 0.1, 7)
    sampler_gap.check(found, None, 7, gaps(1e-6, 1e-6, 0.0))


# The first rollout's, measured on SmolLM2-135M in bfloat16.
FIRST = gaps(0.036, 0.12, -0.0009)


def test_limits_are_three_times_the_first_rollouts_gaps_and_a_floor():
    assert sampler_gap.limits_after(FIRST) == pytest.approx(
        {"sampler_gap_mean": 0.118, "sampler_gap_p95": 0.37, "sampler_gap_signed_mean": 0.0027 + 0.018 + 0.01}
    )


@pytest.mark.parametrize("healthy", [FIRST, gaps(0.09, 0.36, 0.03), gaps(0.09, 0.36, -0.03), gaps(0.0, 0.0, 0.0)])
def test_rounding_like_that_of_the_first_rollout_passes(healthy):
    sampler_gap.check(FIRST, DEFAULT, 0)
    sampler_gap.check(healthy, DEFAULT, 7, FIRST)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (gaps(0.12, 0.12, 0.0), "sampler_gap_mean is above 0.12"),
        (gaps(0.036, 0.38, 0.0), "sampler_gap_p95 is above 0.37"),
        (gaps(0.036, math.nan, 0.0), "sampler_gap_p95 is above 0.37"),
        (gaps(0.036, 0.12, 0.031), "sampler_gap_signed_mean is above 0.031"),
        (gaps(0.036, 0.12, -0.031), "sampler_gap_signed_mean is above 0.031"),
    ],
)
def test_a_gap_far_above_the_first_rollouts_stops(found, name):
    with pytest.raises(InputError, match=f"step 7: .*{name}, .*max_sampler_gap: null"):
        sampler_gap.check(found, 10.0, 7, FIRST)


def test_training_records_the_gap_from_step_0(tiny_folder, tmp_path):
    rows = case.trainer(tiny_folder).run(tmp_path).metrics
    for row in rows:
        assert 0.0 <= row["sampler_gap_mean"] <= row["sampler_gap_max"]
        assert 0.0 <= row["sampler_gap_p95"] <= row["sampler_gap_max"]  # the mean may be above it
        assert row["sampler_gap_max"] < 1e-4
        assert abs(row["sampler_gap_signed_mean"]) <= row["sampler_gap_mean"]


class Liar:
    """A sampler that is right at first, and from the second look on does not follow the policy."""

    def __init__(self, sampler, from_call, lie=0.2):
        self.sampler, self.from_call, self.lie, self.calls = sampler, from_call, lie, 0

    def sample(self, requests, settings, **when):
        self.calls += 1
        drawn = self.sampler.sample(requests, settings, **when)
        if self.calls >= self.from_call:
            for one in drawn:
                one.log_probs[:] = [value - self.lie for value in one.log_probs]
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


@pytest.fixture(scope="module")
def sharp_folder(tmp_path_factory):
    """A model with an opinion on the next token; the temperature of a uniform distribution makes no difference."""
    policy = build_scratch_policy(
        seed=0, layers=2, hidden_size=16, intermediate_size=32, heads=2, kv_heads=1, max_positions=64, whole_tokens=[]
    )
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.dim() > 1:
                weight.mul_(SHARPER)
    folder = tmp_path_factory.mktemp("sharp") / "model"
    policy.save(folder)
    return folder


class OneBehind:
    """A sampler with a copy of the weights, which from a step on gets each update's only after the next one.

    As in vLLM, the weights themselves have the precision.
    """

    def __init__(self, folder, policy, precision, from_step):
        self.policy, self.from_step, self.updates = policy, from_step, -1
        self.own = load_policy(folder)
        self.own.model.to(getattr(torch, precision))
        case.end_often(self.own)
        self.sampler = TransformersSampler(self.own.model, self.own.tokenizer, self.own.end_token_ids, 8)
        self.current = None

    def sample(self, requests, settings, **when):
        return self.sampler.sample(requests, settings, **when)

    def weights_changed(self):
        self.updates += 1
        newest = {name: weight.clone() for name, weight in self.policy.model.state_dict().items()}
        behind = self.current is not None and self.updates + 1 >= self.from_step
        self.own.model.load_state_dict(self.current if behind else newest)
        self.current = newest

    def rest(self):
        self.sampler.rest()


FAST = {"lr": 3e-2, "lr_warmup_steps": 0}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rounding_passes_with_the_default_limit(sharp_folder, tmp_path, precision):
    made = case.trainer(sharp_folder, precision=precision, max_sampler_gap=DEFAULT, **FAST)
    made.sampler = OneBehind(sharp_folder, made.engine.policy, precision, from_step=99)
    rows = made.run(tmp_path).metrics
    assert len(rows) == 5
    assert (rows[-1]["sampler_gap_mean"] > 1e-3) == (precision == "bfloat16")
    assert rows[-1]["kl_per_sequence"] > 0.1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_sampler_one_update_behind_is_stopped(sharp_folder, tmp_path, precision):
    """By comparison with the first rollout, whatever the absolute limit."""
    made = case.trainer(sharp_folder, precision=precision, max_sampler_gap=100.0, **FAST)
    made.sampler = OneBehind(sharp_folder, made.engine.policy, precision, from_step=2)
    with pytest.raises(InputError, match="step 2: .* far more than the first rollout's"):
        made.run(tmp_path)


class OtherTemperature:
    """A sampler that draws at another temperature from a call on."""

    def __init__(self, sampler, from_call):
        self.sampler, self.from_call, self.calls = sampler, from_call, 0

    def sample(self, requests, settings, **when):
        self.calls += 1
        other = settings.model_copy(update={"temperature": 0.7})
        return self.sampler.sample(requests, other if self.calls >= self.from_call else settings, **when)

    def weights_changed(self):
        self.sampler.weights_changed()

    def rest(self):
        self.sampler.rest()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("from_call", "limit", "reason"),
    [(1, DEFAULT, "step 0: .* above max_sampler_gap"), (4, 100.0, "step 2: .* far more than the first rollout's")],
)
def test_another_temperature_is_stopped(sharp_folder, tmp_path, precision, from_call, limit, reason):
    made = case.trainer(sharp_folder, precision=precision, max_sampler_gap=limit)
    made.sampler = OtherTemperature(made.sampler, from_call)
    with pytest.raises(InputError, match=reason):
        made.run(tmp_path)


def test_each_step_is_judged_by_the_first_rollout_of_all_across_a_resume(tiny_folder, tmp_path):
    """Not by the step before, nor by the first after the resume: small steps would add up to any gap."""
    made = case.trainer(tiny_folder, max_sampler_gap=100.0)
    made.sampler = Liar(made.sampler, from_call=4, lie=0.008)
    case.run_until(made, 2, tmp_path)
    resumed = case.trainer(tiny_folder, max_sampler_gap=100.0)
    resumed.sampler = Liar(resumed.sampler, from_call=1, lie=0.02)
    with pytest.raises(InputError, match=r"step 3: .* sampler_gap_mean is above 0.01, far more"):
        resumed.run(tmp_path)
    assert resumed.history.metrics[:3] == made.history.metrics
    assert resumed.history.metrics[1]["sampler_gap_mean"] < 1e-4
