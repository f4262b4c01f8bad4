"""Learning-rate schedules by hand."""

import pytest

from astarpo.model.learning_rate import learning_rate


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_schedules(schedule, expected):
    found = [learning_rate(1.0, schedule, 2, 6, step) for step in range(1, 7)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_no_warm_up_starts_at_the_peak():
    assert learning_rate(2.0, "linear", 0, 4, 1) == 2.0


def test_the_share_that_is_left_takes_the_place_of_the_steps():
    found = [learning_rate(1.0, "linear", 1, 2, step, left) for step, left in ((1, 0.9), (7, 0.25))]
    assert found == [1.0, 0.25]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="unknown schedule 'step'; known are constant, linear, cosine"):
        learning_rate(1.0, "step", 0, 4, 1)
