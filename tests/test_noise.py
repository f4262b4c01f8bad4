"""The forecast of gradient noise: by hand, and against the true noise of a bandit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from astarpo.common.columns import FORECAST, GENERATIONS, GRADED
from astarpo.common.errors import InputError
from astarpo.common.files import write_table
from astarpo.common.frames import frame
from astarpo.figures.forecast import plot
from astarpo.figures.settings import Forecast as ForecastSettings
from astarpo.stage_one.noise import Samples, forecasts, relative_noise
from astarpo.stage_one.surprisals import read_samples, sums_by_prompt
from astarpo.tables.forecast import forecast_tables

BY_HAND = Samples(np.array([0, 0, 1, 1]), np.array([1.0, 0.0, 0.0, 0.0]), np.array([2.0, 6.0, 3.0, 5.0]))


def noise(samples: Samples, scope: str, beta1: float = 0.5) -> dict[tuple[str, float | None], float]:
    return {(one.baseline, one.beta1): one.noise for one in forecasts(samples, beta1) if one.prompts == scope}


def test_the_noise_by_hand():
    """Of the other response, prompt 0 has pass rates 0 (seen from the right one) and 1; prompt 1 has 0 and 0."""
    found = noise(BY_HAND, "all")
    assert found["zero", None] == 1.0
    assert found["batch_mean", None] == pytest.approx((2 * 0.75**2 + 14 * 0.25**2) / 2)
    assert found["pass_rate", None] == found["v_star", 0.5] == pytest.approx((2 * 1 + 6 * 1) / 2)
    best = 2 / 16
    assert found["best_constant", None] == pytest.approx((2 * (1 - best) ** 2 + 14 * best**2) / 2)
    scale = 2 / 6  # sum w r = 2, sum w V* = 6
    assert found["scaled_v_star", 0.5] == pytest.approx((2 + 6 * scale**2) / 2)
    jeffreys = [0.5 * math.log(1 + p * (math.e**2 - 1)) for p in (0.25, 0.75)]
    by_hand = 2 * (1 - jeffreys[0]) ** 2 + 6 * jeffreys[1] ** 2 + 8 * jeffreys[0] ** 2
    assert found["jeffreys", 0.5] == pytest.approx(by_hand / 2)


def test_fitted_numbers_are_told():
    scales = {(one.prompts, one.baseline): one.scale for one in forecasts(BY_HAND, 0.5)}
    assert scales["all", "batch_mean"] == 0.25 and scales["all", "best_constant"] == 0.125
    assert scales["all", "scaled_v_star"] == pytest.approx(1 / 3) and scales["all", "v_star"] is None


def test_a_responses_own_reward_does_not_select_its_prompt():
    """Only the wrong response to prompt 0 has a solved prompt: without a right response there is nothing to compare."""
    assert not noise(BY_HAND, "solved")
    two = Samples(np.array([0, 0, 0]), np.array([1.0, 1.0, 0.0]), np.array([2.0, 3.0, 6.0]))
    rows = [one for one in forecasts(two, 0.5) if one.prompts == "solved"]
    assert {(one.n_prompts, one.n_samples) for one in rows} == {(1, 3)}


def test_the_interval_is_the_delta_methods():
    """A = (w (r - b)^2) by prompt = (5, 2), B = (2, 4) at b = 1 / 2, 7/6 of the noise of none."""
    samples = Samples(np.array([0, 0, 1, 1]), np.array([1.0, 0.0, 1.0, 0.0]), np.array([2.0, 18.0, 4.0, 4.0]))
    ratio, low, high = relative_noise(samples, 0.5)
    assert ratio == pytest.approx(7 / 6)
    half = 1.959964 * math.sqrt(2 * ((5 - 7 / 6 * 2) ** 2 + (2 - 7 / 6 * 4) ** 2)) / 6
    assert (low, high) == (0.0, pytest.approx(ratio + half, abs=1e-5))


def true_noise(policy: np.ndarray, reward: np.ndarray, others: int, beta1: float) -> dict[str, float]:
    """E[|s|^2 (r - b)^2] / E[|s|^2 r] of a softmax policy, s = e_y - pi; b from `others` more draws (binomial law)."""
    norm = 1 - 2 * policy + np.square(policy).sum()
    p = float(policy @ reward)
    without = float((policy * norm) @ reward)

    def with_baseline(b: float) -> float:
        return float((policy * norm) @ np.square(reward - b)) / without

    counts = [math.comb(others, c) * p**c * (1 - p) ** (others - c) for c in range(others + 1)]
    values = [beta1 * math.log(1 + c / others * (math.exp(1 / beta1) - 1)) for c in range(others + 1)]
    return {
        "zero": with_baseline(0.0),
        "batch_mean": with_baseline(p),
        "best_constant": with_baseline(without / float(policy @ norm)),
        "v_star": sum(share * with_baseline(v) for share, v in zip(counts, values, strict=True)),
        "pass_rate": sum(share * with_baseline(c / others) for c, share in enumerate(counts)),
    }


@pytest.fixture(scope="module")
def bandit():
    """One likely right answer among twenty unlikely wrong ones: 2,000 prompts, eight draws for each."""
    policy = np.array([0.4, *[0.03] * 20])
    reward = np.array([1.0, *[0.0] * 20])
    drawn = np.random.default_rng(0).choice(len(policy), (2000, 8), p=policy)
    return policy, reward, drawn


def test_with_true_norms_the_forecast_is_the_true_noise(bandit):
    policy, reward, drawn = bandit
    norm = 1 - 2 * policy + np.square(policy).sum()
    samples = Samples(np.repeat(np.arange(2000), 8), reward[drawn].ravel(), norm[drawn].ravel())
    expected = true_noise(policy, reward, 7, 0.5)
    rows = {one.baseline: one for one in forecasts(samples, 0.5) if one.prompts == "all" and one.beta1 in (None, 0.5)}
    for name, truth in expected.items():
        assert rows[name].noise == pytest.approx(truth, rel=0.05), name
        assert rows[name].ci_low <= truth <= rows[name].ci_high or name in ("zero", "best_constant", "batch_mean")


def test_surprisals_put_the_baselines_in_their_true_order(bandit):
    policy, reward, drawn = bandit
    samples = Samples(np.repeat(np.arange(2000), 8), reward[drawn].ravel(), -np.log(policy)[drawn].ravel())
    found = noise(samples, "all")
    expected = true_noise(policy, reward, 7, 0.5)
    order = sorted(expected, key=expected.__getitem__)
    assert sorted(expected, key=lambda name: found[name, 0.5 if name == "v_star" else None]) == order
    assert order[0] == "best_constant" and order[-1] == "v_star"


def blocks(folder: Path, log_prob: float | None = -2.0) -> tuple[str, str]:
    keys = [("b", 1), ("a", 0), ("a", 1), ("b", 0), ("b", 2)]
    rewards = [1.0, 0.0, None, 0.0, 1.0]
    graded = [
        {**dict.fromkeys(GRADED.names), "prompt_id": prompt, "sample_index": index, "reward": reward}
        for (prompt, index), reward in zip(keys, rewards, strict=True)
    ]
    drawn = [
        {
            **dict.fromkeys(GENERATIONS.names),
            "prompt_id": prompt,
            "sample_index": index,
            "logprob_sum": log_prob and log_prob * (1 + index),
        }
        for prompt, index in sorted(keys)
    ]
    write_table(folder / "graded", graded, GRADED)
    write_table(folder / "drawn", drawn, GENERATIONS)
    return str(folder / "graded"), str(folder / "drawn")


def test_samples_are_joined_by_prompt_and_index(tmp_path):
    graded, drawn = blocks(tmp_path)
    samples = read_samples([graded], [drawn], 2, ["a", "b"])
    assert samples is not None
    assert samples.prompt_M.tolist() == [0, 1, 1]  # the null grade and the third sample are left out
    assert samples.reward_M.tolist() == [0.0, 0.0, 1.0] and samples.weight_M.tolist() == [2.0, 2.0, 4.0]
    total, of_correct = sums_by_prompt(samples, 2)
    assert total.tolist() == [2.0, 6.0] and of_correct.tolist() == [0.0, 4.0]


def test_samples_from_a_later_one_on(tmp_path):
    graded, drawn = blocks(tmp_path)
    samples = read_samples([graded], [drawn], 2, ["a", "b"], first=1)
    assert samples is not None
    assert samples.prompt_M.tolist() == [1, 1] and samples.weight_M.tolist() == [4.0, 6.0]


def test_imported_samples_have_no_surprisals(tmp_path):
    graded, drawn = blocks(tmp_path, log_prob=None)
    assert read_samples([graded], [drawn], 2, ["a", "b"]) is None


def test_grades_of_other_responses_are_refused(tmp_path):
    graded, drawn = blocks(tmp_path)
    write_table(tmp_path / "drawn", [], GENERATIONS)
    with pytest.raises(InputError, match="3 graded responses of .*graded are not in .*drawn"):
        read_samples([graded], [drawn], 2, ["a", "b"])


def test_the_tables_name_every_baseline():
    table = frame([vars(one) for one in forecasts(BY_HAND, 0.5)], FORECAST)
    (shown,) = forecast_tables(table, "v-star")
    assert "all prompts, 2 of them with 4 responses" in shown.title
    cells = {str(row[0]): [str(one) for one in row[1:]] for row in shown.rows}
    assert cells["scaled V*, beta1 = 0.5"][0] == "0.33" and cells["none"] == ["", "1.00 [1.00, 1.00]"]
    assert len(cells) == 11
    (empty,) = forecast_tables(table.iloc[:0], "v-star")
    assert "no forecast" in empty.title and not empty.rows


def test_the_figure_puts_the_least_noise_first():
    table = frame([vars(one) for one in forecasts(BY_HAND, 0.5)], FORECAST)
    figure = plot(forecast=table, settings=ForecastSettings(kind="forecast", value="v-star", prompts="all"))
    (axis,) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "best constant (0.12)" and len(labels) == 11
    points = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert points == sorted(points) and axis.yaxis_inverted()


def test_a_figure_without_a_forecast_says_why():
    """A short trial whose prompts are solved once at most must not end in an error."""
    table = frame([vars(one) for one in forecasts(BY_HAND, 0.5)], FORECAST)
    (axis,) = plot(forecast=table, settings=ForecastSettings(kind="forecast", value="v-star")).axes
    (said,) = axis.texts
    assert said.get_text().startswith("v-star: no forecast, because no prompt of stage 1 has two correct responses")
    assert not axis.lines and not axis.axison
