"""Methods by name.

A new method needs a module that defines `METHOD` from its `prepare` and `loss`, a row of `METHODS`, an entry in
`astarpo.config.methods` and a test; docs/adding-a-method.md lists the steps. A training depends only on the module of
its method.

The name of an array ends in its shape, one letter per dimension:

====== ==========================================================================================================
letter dimension
====== ==========================================================================================================
B      sequences of a batch; in the objectives the responses of a rollout or micro-batch
T      tokens of a response, padded to the longest: ``log_probs_BT``
G      groups of responses to the same prompt; in attention, heads that share keys and values
S      tokens of a sequence, prompt and response: ``input_ids_BS``; in evaluation, seeds: ``scores_SP``
P      tokens of a prompt: ``prompt_ids_BP``; in evaluation, problems: ``rewards_PK``
K      samples of one prompt or problem
N      response tokens of a batch, flattened without padding: ``hidden_NH``
C      tokens of a chunk, whose logits exist at the same time: ``logits_CV``
H      width of the hidden states
V      tokens of the vocabulary
====== ==========================================================================================================

A name without letters is a scalar.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from astarpo.common.choices import Choices
from astarpo.common.errors import InputError
from astarpo.objectives.loss_terms import importance_weights
from astarpo.objectives.method import Hyperparameter, Loss, Method, Prepare, Unit

if TYPE_CHECKING:
    from torch import Tensor

Returned = TypeVar("Returned")
SHARED_METRICS = ("advantage", "implicit_advantage")  # sums that the loss of any method may return

METHODS: Choices[Method] = Choices(
    {
        "a_star_po": "astarpo.objectives.a_star_po",
        "grpo": "astarpo.objectives.grpo",
        "ppo": "astarpo.objectives.ppo",
        "rebel": "astarpo.objectives.rebel",
        "reinforce": "astarpo.objectives.reinforce",
        "oapl": "astarpo.objectives.oapl",
    },
    "METHOD",
)


def build_prepare(name: str, hyperparameters: Mapping[str, Hyperparameter]) -> Prepare:
    """Bind a method's settings to its ``prepare``.

    Args:
        name: a key of `METHODS`.
        hyperparameters: of the method; each function receives those that it has parameters for.

    Returns:
        ``prepare(rollout)``.
    """
    return _fix(METHODS[name].prepare, hyperparameters)


def build_loss(
    name: str,
    hyperparameters: Mapping[str, Hyperparameter],
    max_new_tokens: int = 0,
    importance_cap: float | None = None,
) -> Loss:
    """Bind a method's settings to its loss.

    Args:
        name: a key of `METHODS`.
        hyperparameters: of the method; each function receives those that it has parameters for.
        max_new_tokens: maximum response length, for losses with this parameter.
        importance_cap: largest importance weight, for which the targets must have ``sampled_BT``; None: all weigh 1.

    Returns:
        ``loss(log_probs_BT, mask_BT, targets, normaliser)``, plus ``values_BT`` if there is a critic. It
        raises InputError if it returns other metrics than the method declares.
    """
    fixed = _fix(METHODS[name].loss, {**hyperparameters, "max_new_tokens": max_new_tokens})

    def loss(
        log_probs_BT: Tensor, mask_BT: Tensor, targets: dict[str, Tensor], normaliser: float, **values_BT: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the method's loss and metrics, with importance weights and checked; see `build_loss`."""
        if importance_cap is not None:
            weights_B = importance_weights(log_probs_BT, targets["sampled_BT"], mask_BT, importance_cap)
            targets = {**targets, "importance_B": weights_B}
        loss_sum, metric_sums = fixed(log_probs_BT, mask_BT, targets, normaliser, **values_BT)
        check_metrics(name, metric_sums)
        return loss_sum, metric_sums

    return loss


def check_metrics(name: str, returned: Iterable[str]) -> None:
    """Refuse a loss that returns other metrics than its method declares.

    An undeclared metric would be missing from the tables, or be added to a sum of the same name.

    Args:
        name: a key of `METHODS`.
        returned: names of the sums that the loss returned.

    Raises:
        InputError: naming the method and the metrics.
    """
    declared, summed = set(METHODS[name].metrics), set(returned)
    place = f"METHOD.metrics in {METHODS.modules[name].replace('.', '/')}.py"
    undeclared = sorted(summed - declared - set(SHARED_METRICS))
    if undeclared:
        raise InputError(
            f"the loss of method '{name}' returns the metrics {', '.join(undeclared)}, which the method does not "
            f"declare: add each to {place} with its unit, or do not return it"
        )
    if declared - summed:
        raise InputError(
            f"method '{name}' declares the metrics {', '.join(sorted(declared - summed))}, which its loss does not "
            f"return: return their sums over the micro-batch, or remove them from {place}"
        )


def uses_v_star(name: str, hyperparameters: Mapping[str, Hyperparameter]) -> bool:
    """Whether the method needs stage 1's V* of each prompt with these settings."""
    return METHODS[name].needs_v_star or hyperparameters.get("baseline") == "v_star"


def uses_reference(name: str, hyperparameters: Mapping[str, Hyperparameter]) -> bool:
    """Whether the loss, not just the metrics, depends on the reference's log-probabilities."""
    method = METHODS[name]
    needed = method.reference_only_if is None or bool(hyperparameters[method.reference_only_if])
    return method.anchor == "reference" and needed


def takes_old_from_update(name: str, updates_per_rollout: int) -> bool:
    """Whether the iterate's log-probabilities come from the update itself instead of a pass before it.

    The first update on a rollout begins with the iterate's weights, so its log-probabilities are the iterate's. With a
    single update they are needed nowhere else, unless ``prepare`` uses them, as PPO's does for the KL in its reward.
    """
    return METHODS[name].old_from_update and updates_per_rollout == 1


def responses_allowed(name: str, hyperparameters: Mapping[str, Hyperparameter]) -> tuple[int, int | None]:
    """Return the fewest and most responses per prompt that the method accepts with these settings; None: no bound."""
    least, most = METHODS[name].responses
    return (max(least, 2) if hyperparameters.get("baseline") == "leave_one_out" else least), most


def gradient_factor(name: str, hyperparameters: Mapping[str, Hyperparameter], max_new_tokens: int = 0) -> float:
    """Return the constant by which a method's gradient exceeds the policy gradient.

    Where policy and anchor are equal, the gradient of the loss is c times that of -mean over sequences of
    A ln pi(y|x), the descent direction of the policy gradient, A being the method's advantage (no gradient). A norm
    divided by c can be compared between methods.

    c is 1 for losses that average over tokens (PPO, GRPO): they weight a response by its length, so there is no such
    constant, and a norm is that of a token's mean, smaller by about the length of a response.

    Args:
        name: a key of `METHODS`.
        hyperparameters: of the method.
        max_new_tokens: maximum response length, for losses that divide by it.

    Returns:
        c > 0.
    """
    return _fix(METHODS[name].gradient_factor, {**hyperparameters, "max_new_tokens": max_new_tokens})()


def normaliser_of(name: str, hyperparameters: Mapping[str, Hyperparameter]) -> Unit:
    """Return whether the loss is divided by the sequences or by the tokens of an optimizer step."""
    return "tokens" if hyperparameters.get("average") == "tokens" else METHODS[name].normaliser


def _fix(function: Callable[..., Returned], settings: Mapping[str, Hyperparameter]) -> Callable[..., Returned]:
    known = inspect.signature(function).parameters
    return partial(function, **{name: settings[name] for name in settings if name in known})
