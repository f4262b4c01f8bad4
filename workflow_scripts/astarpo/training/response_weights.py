"""Weights of responses in an adaptive scale of V*: their surprisals, or the true squared norms of their scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from astarpo.training.engine import TorchEngine
from astarpo.training.rollouts import Ungraded
from astarpo.training.value_scale import ValueScale


def response_weights(scale: ValueScale, engine: TorchEngine, drawn: Ungraded, rows: Sequence[int]) -> list[float]:
    """Weigh the responses of a rollout before its updates.

    Args:
        scale: says which weights it learns from.
        engine: holds the policy that sampled.
        drawn: the rollout.
        rows: those to train on.

    Returns:
        A weight for each of the first rows: of all for surprisals, of ``scale.measured`` for norms. The prompts are in
        random order, so these are a random subset. Empty if the scale is fixed.
    """
    if not scale.adaptive:
        return []
    if not scale.exact:
        return drawn.surprisals(rows)
    some = rows[: scale.measured]
    prompts = [drawn.prompts[row].token_ids for row in some]
    return score_norms(engine, prompts, [drawn.completions[row].token_ids for row in some])


def score_norms(engine: TorchEngine, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[float]:
    """Compute |grad ln pi(y|x)|^2 of each response under the policy, over all trained weights.

    Args:
        engine: holds the policy.
        prompts, responses: token ids; each pair takes a forward and a backward pass of its own.
    """
    trained = [weight for weight in engine.policy.model.parameters() if weight.requires_grad]
    norms: list[torch.Tensor] = []
    for row in range(len(responses)):
        (micro_batch,) = engine.micro_batches(prompts, responses, [row])
        log_probs_BT, _ = engine.score_policy(micro_batch.batch)
        gradients = torch.autograd.grad(log_probs_BT.sum(), trained)  # 0 where masked
        first, *others = [one.float().square().sum() for one in gradients]
        norms.append(sum(others, first))
    read: list[float] = torch.stack(norms).tolist()  # at once, because the host waits for a GPU to read a number
    return read
