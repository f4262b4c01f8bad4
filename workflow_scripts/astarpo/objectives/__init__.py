"""Methods: two pure functions each, and what the loop must provide for them.

A new method is a module with `prepare` and `loss`, a row of `METHODS`, an entry in `astarpo.config.methods` and a test;
docs/adding-a-method.md goes through the steps.

The name of an array ends in its shape, one letter for each dimension:

====== ==========================================================================================================
letter dimension
====== ==========================================================================================================
B      sequences of a batch; in the objectives the responses of a rollout or micro-batch
T      tokens of a response, padded to the longest: ``log_probs_BT``
G      groups of responses to the same prompt; in attention, heads that share keys and values
S      tokens of a sequence, prompt and response: ``input_ids_BS``; in evaluation, seeds: ``scores_SP``
P      tokens of a prompt: ``prompt_ids_BP``; in evaluation, problems: ``rewards_PK``
K      samples of one prompt or problem
N      response tokens of a batch in one row, without padding: ``hidden_NH``
C      those of them whose logits exist at a time: ``logits_CV``
H      width of the hidden states
V      tokens of the vocabulary
====== ==========================================================================================================

No letter at all is a single number.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from astarpo.common.errors import InputError
from astarpo.objectives import a_star_po, grpo, oapl, ppo, rebel, reinforce

Anchor = Literal["reference", "iterate", "lagged"]
Unit = Literal["sequences", "tokens"]
PROVIDED = (
    "values_BT",
    "max_new_tokens",
)  # keyword arguments that the loop gives; all others are settings
SHARED_METRICS = ("advantage", "implicit_advantage")  # sums that any loss may return


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        prepare: ``prepare(rollout, **settings) -> targets``, without gradient, on the global batch.
        loss: ``loss(log_probs_BT, mask_BT, targets, normaliser, **settings) -> (loss_sum, metric_sums)`` on a
            micro-batch; with a critic ``values_BT`` as well. Keyword arguments are the method's settings, but for
            `PROVIDED`.
        anchor: the policy whose log-probabilities are ``anchor_log_probs_BT``: the ``reference``; the ``iterate``,
            which is the policy before the updates on this rollout; or ``lagged``, the policy of the last
            synchronisation (each ``sync_every`` steps), which then draws the responses too.
        needs_v_star: whether stage 1 must have estimated V* for each prompt; see also `uses_v_star`.
        needs_old_log_probs: whether the rollout has the iterate's log-probabilities.
        needs_critic: whether a critic is trained beside the policy (its learning rate: ``critic_lr``).
        pairs: whether the responses to a prompt must be in the same micro-batch.
        responses: fewest and most responses a prompt; no bound where None.
        normaliser: what ``normaliser`` counts in an optimizer step, unless the setting ``average`` is ``tokens``.
        reference_only_if: a setting; where it is 0 or false, the reference's log-probabilities play no part.
        loop_settings: settings that the loop reads, rather than the two functions.
        metrics: own columns of the metrics: name of a sum that the loss returns -> what it is divided by. The loss
            must return all of them, and no other but `SHARED_METRICS`.
    """

    prepare: Callable[..., Any]
    loss: Callable[..., Any]
    anchor: Anchor = "reference"
    needs_v_star: bool = False
    needs_old_log_probs: bool = False
    needs_critic: bool = False
    pairs: bool = False
    responses: tuple[int, int | None] = (1, None)
    normaliser: Unit = "sequences"
    reference_only_if: str | None = None
    loop_settings: tuple[str, ...] = ()
    metrics: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the method's settings: of both functions and of the loop."""
        own = [*_keywords(self.prepare), *_keywords(self.loss)]
        return tuple(dict.fromkeys([*own, *self.loop_settings]))


METHODS: dict[str, Method] = {
    "a_star_po": Method(
        a_star_po.prepare,
        a_star_po.loss,
        needs_v_star=True,
        responses=(1, 1),
        loop_settings=("value_update",),
    ),
    "grpo": Method(
        grpo.prepare,
        grpo.loss,
        needs_old_log_probs=True,
        responses=(2, None),
        reference_only_if="kl_coefficient",
        metrics={"ratio_clip_fraction": "tokens"},
    ),
    "ppo": Method(
        ppo.prepare,
        ppo.loss,
        needs_old_log_probs=True,
        needs_critic=True,
        normaliser="tokens",
        reference_only_if="kl_coefficient",
        loop_settings=("critic_lr",),
        metrics={
            "ratio_clip_fraction": "tokens",
            "value_loss": "tokens",
            "value_clip_fraction": "tokens",
            "explained_variance": "sequences",
        },
    ),
    "rebel": Method(
        rebel.prepare,
        rebel.loss,
        anchor="iterate",
        pairs=True,
        responses=(2, 2),
        metrics={"pair_reward_gap": "sequences"},
    ),
    "reinforce": Method(
        reinforce.prepare,
        reinforce.loss,
        reference_only_if="kl_in_reward",
        loop_settings=("baseline_decay",),
    ),
    "oapl": Method(oapl.prepare, oapl.loss, anchor="lagged", responses=(2, None), loop_settings=("sync_every",)),
}


def build_prepare(name: str, hyperparameters: Mapping[str, Any]) -> Callable[..., Any]:
    """Fix a method's settings in its ``prepare``.

    Args:
        name: a key of `METHODS`.
        hyperparameters: of the method; each function is given those that it names.

    Returns:
        ``prepare(rollout)``.
    """
    return _fix(METHODS[name].prepare, hyperparameters)


def build_loss(name: str, hyperparameters: Mapping[str, Any], max_new_tokens: int = 0) -> Callable[..., Any]:
    """Fix a method's settings in its loss.

    Args:
        name: a key of `METHODS`.
        hyperparameters: of the method; each function is given those that it names.
        max_new_tokens: where responses are cut, for a loss that asks.

    Returns:
        ``loss(log_probs_BT, mask_BT, targets, normaliser)``, with ``values_BT`` besides if there is a critic. It
        raises InputError where the metrics that it returns are not those that the method declares.
    """
    fixed = _fix(METHODS[name].loss, {**hyperparameters, "max_new_tokens": max_new_tokens})

    def loss(*tensors: Any, **values: Any) -> Any:
        loss_sum, metric_sums = fixed(*tensors, **values)
        check_metrics(name, metric_sums)
        return loss_sum, metric_sums

    return loss


def check_metrics(name: str, returned: Iterable[str]) -> None:
    """Refuse a loss whose metrics are not those that its method declares.

    An undeclared one would be missing from the tables, or be added to a sum of the same name.

    Args:
        name: a key of `METHODS`.
        returned: names of the sums that the loss returned.

    Raises:
        InputError: naming the method and the metrics.
    """
    declared, found = set(METHODS[name].metrics), set(returned)
    where = f"METHODS[{name!r}].metrics in astarpo/objectives/__init__.py"
    undeclared = sorted(found - declared - set(SHARED_METRICS))
    if undeclared:
        raise InputError(
            f"the loss of method '{name}' returns the metrics {', '.join(undeclared)}, which the method does not "
            f"declare: add each to {where}, with what it is divided by, or do not return it"
        )
    if declared - found:
        raise InputError(
            f"method '{name}' declares the metrics {', '.join(sorted(declared - found))}, which its loss does not "
            f"return: return their sums over the micro-batch, or take them out of {where}"
        )


def uses_v_star(name: str, hyperparameters: Mapping[str, Any]) -> bool:
    """Whether the method, with these settings, needs stage 1's V* of each prompt."""
    return METHODS[name].needs_v_star or hyperparameters.get("baseline") == "v_star"


def uses_reference(name: str, hyperparameters: Mapping[str, Any]) -> bool:
    """Whether the reference's log-probabilities enter the training, and not just its metrics."""
    method = METHODS[name]
    needed = method.reference_only_if is None or bool(hyperparameters[method.reference_only_if])
    return method.anchor == "reference" and needed


def responses_allowed(name: str, hyperparameters: Mapping[str, Any]) -> tuple[int, int | None]:
    """Fewest and most responses a prompt that the method can train on with these settings; None: no bound."""
    least, most = METHODS[name].responses
    return (max(least, 2) if hyperparameters.get("baseline") == "leave_one_out" else least), most


def normaliser_of(name: str, hyperparameters: Mapping[str, Any]) -> Unit:
    """What the loss is divided by: the sequences of an optimizer step, or its tokens."""
    return "tokens" if hyperparameters.get("average") == "tokens" else METHODS[name].normaliser


def _keywords(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in PROVIDED]


def _fix(function: Callable[..., Any], settings: Mapping[str, Any]) -> Callable[..., Any]:
    known = inspect.signature(function).parameters
    return partial(function, **{name: settings[name] for name in settings if name in known})
