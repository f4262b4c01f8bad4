"""Metrics of a method's own: what its loss returns and what the method declares are the same, or nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import training_case as case

from astarpo.common.errors import InputError
from astarpo.objectives import METHODS, SHARED_METRICS, a_star_po, check_metrics
from astarpo.training.metrics import METRICS

# What an update adds up or measures for every method, besides the columns of the table.
SUMS = {"kl", "log_ratio_squared", "sequences", "tokens", "clipped"}


def with_spread(log_probs_BT: Any, mask_BT: Any, targets: Any, normaliser: Any, *, beta2: float) -> Any:
    """A*-PO's loss with a metric of its own."""
    loss, sums = a_star_po.loss(log_probs_BT, mask_BT, targets, normaliser, beta2=beta2)
    return loss, {**sums, "spread": targets["advantage_B"].abs().sum()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": with_spread}, "loss of method 'a_star_po' returns the metrics spread, which the method does not"),
        ({"metrics": {"spread": "tokens"}}, "method 'a_star_po' declares the metrics spread, which its loss does not"),
    ],
)
def test_the_first_update_refuses_what_does_not_agree(changes, said, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(a_star_po, "METHOD", replace(a_star_po.METHOD, **changes))
    trainer = case.trainer(tiny_folder)
    before = case.weights(trainer).clone()
    with pytest.raises(InputError, match=said):
        trainer.run(tmp_path)
    assert case.weights(trainer).equal(before)
    assert [row["step"] for row in trainer.history.metrics] == [0]  # the look before training


def test_a_declared_metric_is_a_column(tiny_folder, tmp_path, monkeypatch):
    declared = replace(a_star_po.METHOD, loss=with_spread, metrics={"spread": "sequences"})
    monkeypatch.setattr(a_star_po, "METHOD", declared)
    rows = case.trainer(tiny_folder).run(tmp_path).metrics
    # V* is 0, 0.1, ... 0.7 and rewards are 0 or 1, so the mean distance of the two lies between these.
    assert all(0.0 < row["spread"] <= 1.0 for row in rows[1:]) and len(rows) == 5


def test_both_faults_name_their_metrics():
    with pytest.raises(InputError, match="'ppo' returns the metrics a, b, which"):
        check_metrics("ppo", [*METHODS["ppo"].metrics, "b", "a", "advantage"])
    declared = "'ppo' declares the metrics value_clip_fraction, value_loss, which"
    with pytest.raises(InputError, match=declared):
        check_metrics("ppo", ["ratio_clip_fraction", "explained_variance"])
    check_metrics("ppo", [*METHODS["ppo"].metrics, *SHARED_METRICS])


@pytest.mark.parametrize("name", METHODS)
def test_no_method_takes_a_name_that_has_a_meaning_already(name):
    assert not set(METHODS[name].metrics) & {*METRICS.names, *SUMS, *SHARED_METRICS}
