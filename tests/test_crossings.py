"""When a run reaches what another one ends with, on curves worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from astarpo.common.columns import CROSSINGS
from astarpo.evaluation.crossings import SmoothedCurve, crossing, race, smoothed
from astarpo.tables import crossing_table, race_table

T_2 = 4.302653  # quantile of Student's t with two degrees of freedom, for 95 %


def of_seeds(*curves, amounts=(0, 10, 20, 30)):
    return {seed: smoothed(amounts[: len(values)], values) for seed, values in enumerate(curves)}


def test_isotonic_regression_by_hand():
    # 0.5 and 0.3 violate the order and become 0.4, 0.7 and 0.5 and 0.6 become 0.6.
    curve = smoothed([0, 1, 2, 3, 4, 5], [0.1, 0.5, 0.3, 0.7, 0.5, 0.6])
    assert curve.values_K == pytest.approx([0.1, 0.4, 0.4, 0.6, 0.6, 0.6])
    assert curve.end == pytest.approx(0.6)


def test_a_crossing_is_interpolated():
    amounts_M, values_M = np.array([0.0, 10.0, 20.0]), np.array([0.1, 0.3, 0.7])
    assert crossing(amounts_M, values_M, 0.4) == pytest.approx(12.5)
    assert crossing(amounts_M, values_M, 0.7) == 20.0
    assert crossing(amounts_M, values_M, 0.05) == 0.0
    assert crossing(amounts_M, values_M, 0.71) is None


def test_a_noisy_curve_does_not_reach_a_level_early():
    # One lucky point, 0.65 after 10, is above the other's end; the smoothed curve is at 0.4 until 40.
    noisy, steady = [0.1, 0.65, 0.25, 0.35, 0.35, 0.6, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6]
    amounts = (0, 10, 20, 30, 40, 50, 60)
    assert crossing(np.array(amounts), np.array(noisy), 0.6) < 10
    found = race(of_seeds(noisy, amounts=amounts), of_seeds(steady, amounts=amounts))
    assert (found.amount, found.target_amount) == pytest.approx((50, 60))


def test_a_curve_that_crosses_and_one_that_never_does():
    fast, slow = of_seeds([0.1, 0.3, 0.5, 0.7]), of_seeds([0.1, 0.2, 0.3, 0.4])
    there, back = race(fast, slow), race(slow, fast)
    assert (there.level, there.amount, there.target_amount) == pytest.approx((0.4, 15, 30))
    assert (there.n_reached, there.n_seeds, there.low) == (1, 1, None)
    assert (back.level, back.amount, back.target_amount) == pytest.approx((0.7, None, 30))
    assert (back.n_reached, back.n_seeds) == (0, 1)


@pytest.mark.parametrize("curve", [[0.1, 0.3, 0.5, 0.7], [0.1, 0.5, 0.4, 0.6], [0.1, 0.5, 0.7, 0.3]])
def test_identical_curves_need_the_same(curve):
    runs = of_seeds(curve, [one + 0.1 for one in curve], [one - 0.05 for one in curve])
    found = race(runs, dict(runs))
    assert found.amount == found.target_amount > 0
    assert found.n_reached == 3


def test_the_interval_by_hand():
    """Rising by 0.01 an amount from 0, 0.02 and 0.04: 0.02 more on average, with a deviation of 0.02."""
    straight = [[start, start + 0.3] for start in (0.0, 0.02, 0.04)]
    run = of_seeds(*straight, amounts=(0, 30))
    target = of_seeds([0.1, 0.2], [0.1, 0.2], [0.1, 0.2], amounts=(0, 30))
    found = race(run, target)
    # D(x) = 0.02 + 0.01 x - 0.2, plus or minus t 0.02 / sqrt(3).
    half = T_2 * 0.02 / 3**0.5 / 0.01
    assert (found.amount, found.low, found.high) == pytest.approx((18, 18 - half, 18 + half))
    # Deviations that both have in common do not count if seeds are paired.
    shifted = {seed: SmoothedCurve(one.amounts_K, one.values_K + 0.01 * seed) for seed, one in target.items()}
    wider, paired = race(run, shifted, shared_data=False), race(run, shifted)
    assert paired.paired and not wider.paired
    assert paired.high - paired.low == pytest.approx(half)  # the deviation of 0.01 is half of the one above
    # Welch: variances of the means v = 0.02^2 / 3 and v / 4 add up, with (5 / 4)^2 / (1 / 2 + 1 / 32) = 50 / 17.
    from scipy.stats import t

    half = t.ppf(0.975, 50 / 17) * (0.0005 / 3) ** 0.5 / 0.01
    assert (wider.low, wider.high) == pytest.approx((19 - half, 19 + half))


def test_seeds_that_never_get_there_count():
    """Two of three reach 0.3; the mean curve does at 0.9, and its upper limit never."""
    run = of_seeds([0.0, 0.4], [0.0, 0.5], [0.0, 0.1], amounts=(0, 30))
    target = of_seeds(*[[0.1, 0.3]] * 3, amounts=(0, 30))
    found = race(run, target)
    assert (found.n_reached, found.n_seeds) == (2, 3)
    assert found.amount == pytest.approx(27) and found.high is None and found.low < 27
    # With none of them left, even the lower limit is beyond the training, and is its end.
    far = race(of_seeds([0.0, 0.10], [0.0, 0.11], [0.0, 0.12], amounts=(0, 30)), target)
    assert (far.n_reached, far.amount, far.low, far.high) == (0, None, 30, None)


def test_the_upper_limit_is_where_the_lower_one_stays_above():
    """Ahead of the target in both seeds alike after 10, apart after 20, and ahead again at the end."""
    run = of_seeds([0.1, 0.5, 0.5, 0.9], [0.1, 0.5, 0.8, 0.9])
    target = of_seeds([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    found = race(run, target)
    # At 20: 0.25 less 12.706 times 0.15 is below 0; at 30 it is 0.5, with no deviation.
    below = 0.25 - 12.706205 * 0.15
    assert found.amount == pytest.approx(7.5)
    assert found.high == pytest.approx(20 + 10 * -below / (0.5 - below))


def test_units_do_not_matter():
    a, b = [[0.1, 0.4, 0.2, 0.6], [0.1, 0.3, 0.3, 0.7]], [[0.1, 0.2, 0.5, 0.4], [0.2, 0.2, 0.3, 0.5]]
    once = race(of_seeds(*a), of_seeds(*b))
    hours = race(of_seeds(*a, amounts=(0, 36e3, 72e3, 108e3)), of_seeds(*b, amounts=(0, 36e3, 72e3, 108e3)))
    assert once.low > 0
    for name in ("amount", "low", "target_amount"):
        assert getattr(hours, name) == pytest.approx(3600 * getattr(once, name))


def test_time_reversed():
    """Run backwards and upside down, a strictly rising curve crosses as long before its end."""
    amounts_M, values_M = np.array([0.0, 4.0, 10.0]), np.array([0.1, 0.5, 0.6])
    forward = crossing(amounts_M, values_M, 0.3)
    assert crossing(10 - amounts_M[::-1], -values_M[::-1], -0.3) == pytest.approx(10 - forward)


def test_a_curve_without_points_is_refused():
    with pytest.raises(ValueError, match="0 amounts and 0 rewards"):
        smoothed([], [])
    with pytest.raises(ValueError, match="2 amounts and 1 rewards"):
        smoothed([0, 1], [0.5])


def training(run, seed, method="a_star_po", updates=1, **changes):
    terms = {"dataset": "d", "selection": None, "prompts_per_batch": 4, "responses_per_prompt": 1}
    terms |= {"updates_per_rollout": updates, "validation": "v"}
    return {"run": run, "method": method, "seed": seed, "terms": terms | changes}


def looks(run, seed, values, seconds=10.0, name="validation_reward"):
    """Measured at steps 0, 5, 10, ..., each step taking so long and 100 tokens."""
    return [
        {
            "run": run,
            "seed": seed,
            "step": 5 * place,
            "seconds": 5 * place * seconds,
            "generated_tokens": 500 * place,
            "name": name,
            "value": value,
        }
        for place, value in enumerate(values)
    ]


RUNS = [training("ours", 0), training("ours", 1), training("grpo", 0, "grpo", 4), training("grpo", 1, "grpo", 4)]
CURVES = [
    *looks("ours", 0, [0.1, 0.3, 0.5]),
    *looks("ours", 1, [0.1, 0.5, 0.7]),
    *looks("grpo", 0, [0.1, 0.2, 0.3, 0.3], seconds=20),
    *looks("grpo", 1, [0.1, 0.2, 0.3, 0.5], seconds=20),
]


def crossed(trainings=RUNS, curves=CURVES):
    found = crossing_table(trainings, pd.DataFrame(curves))
    assert list(found.columns) == CROSSINGS.names
    return {(row["run"], row["target"], row["unit"]): row for row in found.to_dict("records")}


def test_both_directions_in_every_unit():
    """Means of seeds: ours 0.1, 0.4, 0.6 at steps 0, 5, 10; grpo, with four updates a step, 0.4 at step 15."""
    found = crossed()
    assert len(found) == 6
    for unit, amount, target in (("seconds", 50, 300), ("generated_tokens", 500, 1500), ("updates", 5, 60)):
        there, back = found["ours", "grpo", unit], found["grpo", "ours", unit]
        assert (there["amount"], there["target_amount"]) == pytest.approx((amount, target))
        assert there["ratio"] == pytest.approx(amount / target)
        assert (there["outcome"], there["n_reached"], there["paired_by_seed"]) == ("reached", 2, True)
        assert there["level"] == pytest.approx(0.4)
        assert back["level"] == pytest.approx(0.6) and back["outcome"] == "not_reached"
        assert pd.isna(back["amount"]) and pd.isna(back["ratio"]) and back["n_reached"] == 0
    assert found["grpo", "ours", "updates"]["target_amount"] == pytest.approx(10)


def test_a_run_that_never_rises_is_nothing_to_reach():
    runs = [training("ours", 0), training("stuck", 0, "ppo")]
    found = crossed(runs, [*looks("ours", 0, [0.3, 0.5]), *looks("stuck", 0, [0.4, 0.2, 0.1])])
    there = found["ours", "stuck", "seconds"]
    assert (there["outcome"], there["n_flat_target"]) == ("nothing_to_reach", 1)
    assert pd.isna(there["amount"]) and pd.isna(there["ratio"])
    assert found["stuck", "ours", "seconds"]["outcome"] == "not_reached"


def test_training_rewards_are_compared_on_the_same_prompts_alone():
    runs = [training("ours", 0), training("grpo", 0, "grpo"), training("other", 0, "ppo", dataset="e")]
    runs += [training("validated", 0, "ppo")]
    curves = [row for run in ("ours", "grpo", "other") for row in looks(run, 0, [0.1, 0.2], name="reward")]
    curves += [*looks("validated", 0, [0.1, 0.2], name="reward"), *looks("validated", 0, [0.1, 0.2])]
    found = crossed(runs, curves)
    assert {key[:2] for key in found} == {("ours", "grpo"), ("grpo", "ours")}
    assert {row["metric"] for row in found.values()} == {"reward"}
    assert {row["ratio"] for row in found.values()} == {1.0}


def test_validations_on_different_prompts_are_not_compared():
    runs = [*RUNS[:2], training("grpo", 0, "grpo", validation="w"), training("grpo", 1, "grpo", validation="w")]
    assert crossed(runs) == {} and len(crossed()) == 6


def test_seeds_of_other_prompts_are_not_paired():
    runs = [*RUNS[:2], training("grpo", 0, "grpo", selection="s"), training("grpo", 1, "grpo", selection="s")]
    assert not crossed(runs)["ours", "grpo", "seconds"]["paired_by_seed"]


def test_the_race_as_it_is_shown():
    runs = [*RUNS, training("stuck", 0, "ppo"), training("again", 0)]
    curves = [*CURVES, *looks("stuck", 0, [0.05, 0.02]), *looks("again", 0, [0.1, 0.2])]
    made = race_table(runs, crossing_table(runs, pd.DataFrame(curves)))
    assert made.head[4:] == [
        ["after, s"],
        ["the other, s"],
        ["ratio of seconds"],
        ["ratio of tokens"],
        ["ratio of updates"],
    ]
    there, back, ours_stuck, stuck_ours = made.texts
    assert there[:6] == ["ours", "grpo", "40.0", "2 of 2", "50", "300"]
    assert [cell.split()[0] for cell in there[6:]] == ["0.17", "0.33", "0.08"]
    assert back[:7] == ["grpo", "ours", "60.0", "0 of 2", "not reached", "100", "not reached [0.00, open]"]
    assert ours_stuck == ["ours", "stuck", "3.5 (1 of 1 never rise)", "2 of 2", "nothing to reach", "", "", "", ""]
    assert stuck_ours[:5] == ["stuck", "ours", "60.0", "0 of 1", "not reached"]
    assert "isotonic" in made.title


def test_no_race_without_validation_or_another_run():
    runs = [training("ours", 0), training("grpo", 0, "grpo")]
    for name, kept in (("validation_reward", ["ours"]), ("validation_reward", ["grpo"]), ("reward", ["ours", "grpo"])):
        curves = pd.DataFrame([row for run in kept for row in looks(run, 0, [0.1, 0.2], name=name)])
        assert race_table(runs, crossing_table(runs, curves)) is None
