"""Methods: two pure functions each, and what the loop must provide for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from astarpo.objectives import a_star_po

Anchor = Literal["reference", "iterate", "lagged"]


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        prepare: ``prepare(rollout) -> targets``, without gradient, on the global batch.
        loss: ``loss(log_probs_BT, mask_BT, targets, normaliser) -> (loss_sum, metric_sums)`` on a micro-batch.
        anchor: the policy whose log-probabilities are ``anchor_log_probs_BT``.
        needs_v_star: whether stage 1 must have estimated V* for each prompt.
        hyperparameters: names of the settings that ``loss`` takes.
    """

    prepare: Callable[..., Any]
    loss: Callable[..., Any]
    anchor: Anchor
    needs_v_star: bool
    hyperparameters: tuple[str, ...]


METHODS: dict[str, Method] = {
    "a_star_po": Method(a_star_po.prepare, a_star_po.loss, "reference", True, ("beta2",)),
}


def build_loss(name: str, hyperparameters: dict[str, Any]) -> Callable[..., Any]:
    """Fix a method's hyper-parameters in its loss.

    Args:
        name: a key of `METHODS`.
        hyperparameters: exactly the settings that the method names.

    Returns:
        ``loss(log_probs_BT, mask_BT, targets, normaliser)``.
    """
    return partial(METHODS[name].loss, **hyperparameters)
