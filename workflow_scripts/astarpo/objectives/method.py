"""The definition of a training method: two pure functions, and what the loop must provide for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Anchor = Literal["reference", "iterate", "lagged"]
Unit = Literal["sequences", "tokens"]
# Keyword arguments that the loop passes; all others are settings.
PROVIDED = ("values_BT", "max_new_tokens")
Hyperparameter = bool | int | float | str
Prepare = Callable[..., "dict[str, Tensor]"]
Loss = Callable[..., "tuple[Tensor, dict[str, Tensor]]"]


def same_scale() -> float:
    """Return 1: the loss's gradient has the scale of the policy gradient, or of no constant multiple of it."""
    return 1.0


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        prepare: ``prepare(rollout, **settings) -> targets``, without gradient, on the global batch.
        loss: ``loss(log_probs_BT, mask_BT, targets, normaliser, **settings) -> (loss_sum, metric_sums)`` on a
            micro-batch; with a critic also ``values_BT``. Keyword arguments are the method's settings, except
            `PROVIDED`.
        anchor: the policy whose log-probabilities are ``anchor_log_probs_BT``: the ``reference``; the ``iterate``,
            which is the policy before the updates on this rollout; or ``lagged``, the policy of the last
            synchronisation (every ``sync_every`` steps), which then also samples the responses.
        needs_v_star: whether stage 1 must have estimated V* for each prompt; see also `uses_v_star`.
        needs_old_log_probs: whether the rollout needs the iterate's log-probabilities.
        old_from_update: whether ``prepare`` and ``loss`` manage without the iterate's log-probabilities where a rollout
            has a single update: they then equal those of the update's own pass, see `takes_old_from_update`.
        needs_critic: whether a critic is trained alongside the policy, at the rate ``critic_lr``.
        takes_importance: whether the loss multiplies each response's share by ``importance_B``, if the targets have it.
        pairs: whether the responses to a prompt must be in the same micro-batch.
        responses: fewest and most responses per prompt; None: no bound.
        normaliser: what ``normaliser`` counts in an optimizer step, unless the setting ``average`` is ``tokens``.
        reference_only_if: a setting; if it is 0 or false, the loss does not use the reference's log-probabilities.
        gradient_factor: ``gradient_factor(**settings)``: the loss's gradient at the anchor is this constant times the
            policy gradient, the mean over sequences of A grad ln pi(y|x); see `objectives.gradient_factor`.
        loop_settings: settings that the loop reads instead of the two functions.
        metrics: the method's additional metrics: name of a sum that the loss returns -> its unit. The loss must
            return all of them, and no others except `SHARED_METRICS`.
    """

    prepare: Prepare
    loss: Loss
    anchor: Anchor = "reference"
    needs_v_star: bool = False
    needs_old_log_probs: bool = False
    old_from_update: bool = False
    needs_critic: bool = False
    takes_importance: bool = False
    pairs: bool = False
    responses: tuple[int, int | None] = (1, None)
    normaliser: Unit = "sequences"
    reference_only_if: str | None = None
    gradient_factor: Callable[..., float] = same_scale
    loop_settings: tuple[str, ...] = ()
    metrics: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the method's settings, for both functions and the loop."""
        keywords = [*_keywords(self.prepare), *_keywords(self.loss)]
        return tuple(dict.fromkeys([*keywords, *self.loop_settings]))


def _keywords(function: Prepare | Loss) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in PROVIDED]
