"""The warm start of a reference policy: supervised training on worked solutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from astarpo.common.errors import InputError
from astarpo.common.progress import Progress
from astarpo.model.finite import clip_gradients
from astarpo.model.learning_rate import learning_rate, set_learning_rate
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.policy import Policy
from astarpo.stage_one.settings import WarmStartSettings


def warm_start(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    solutions: Sequence[str],
    settings: WarmStartSettings,
) -> list[float]:
    """Train a policy in place to continue prompts with their worked solutions.

    The loss is the mean negative log-likelihood of the solution's tokens and the end token.

    Args:
        policy: trained in place.
        prompts: P encoded prompts.
        solutions: P texts.
        settings: number of steps, batch size and optimizer.

    Returns:
        The loss of each step, in nats per token.

    Raises:
        InputError: there are fewer prompts than one batch needs.
    """
    if len(prompts) < settings.batch_size:
        raise InputError(
            f"the warm start needs batches of {settings.batch_size}, but there are {len(prompts)} worked "
            "solutions: lower warm_start.batch_size or use a larger data set"
        )
    responses = encode_solutions(policy, solutions)
    optimizer = torch.optim.AdamW(
        policy.model.parameters(),
        lr=settings.lr,
        betas=settings.adam_betas,
        weight_decay=settings.weight_decay,
    )
    losses = []
    policy.model.train()
    with Progress("warm start", settings.steps, "steps") as progress:
        for step in range(1, settings.steps + 1):
            lr = learning_rate(settings.lr, settings.lr_schedule, settings.lr_warmup_steps, settings.steps, step)
            set_learning_rate(optimizer, lr)
            rows = batch_rows(len(prompts), settings.batch_size, step, settings.seed)
            try:
                losses.append(_step(policy, optimizer, prompts, responses, rows, settings.max_grad_norm))
            except FloatingPointError as error:
                raise InputError(f"step {step} of the warm start diverged: {error}; lower warm_start.lr") from error
            progress.advance(loss=losses[-1])
    policy.model.eval()
    return losses


def encode_solutions(policy: Policy, solutions: Sequence[str]) -> list[list[int]]:
    """Encode worked solutions as responses: their tokens, then the first of the policy's end tokens."""
    encoded = policy.tokenizer(list(solutions), add_special_tokens=False)["input_ids"]
    return [[*tokens, policy.end_token_ids[0]] for tokens in encoded]


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Rows of a step's batch: a new order every epoch, each row once per epoch, an incomplete last batch left out."""
    per_epoch = count // batch_size
    epoch, position = divmod(step - 1, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch_size : (position + 1) * batch_size].tolist()


def _step(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    rows: list[int],
    max_grad_norm: float,
) -> float:
    batch = collate(
        [prompts[row] for row in rows],
        [responses[row] for row in rows],
        policy.end_token_ids,
        policy.model.device,
    )
    log_probs_BT, _ = token_log_probs(policy.model, batch, temperature=1.0)
    loss = -log_probs_BT.sum() / batch.mask_BT.sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clip_gradients(policy.model.parameters(), max_grad_norm)
    optimizer.step()
    return float(loss.detach())
