"""The warm start of a reference policy: supervised training on worked solutions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from astarpo.common.errors import InputError, Interrupted
from astarpo.common.progress import Progress
from astarpo.common.stopping import deferred_signals
from astarpo.model import checkpoints
from astarpo.model.finite import check_weights, clip_gradients
from astarpo.model.learning_rate import learning_rate, set_learning_rate
from astarpo.model.log_probs import collate, token_log_probs
from astarpo.model.policy import Policy
from astarpo.model.precision import MasterWeights
from astarpo.stage_one.settings import WarmStartSettings

# Steps of a small model take less time than a checkpoint of it.
SECONDS_BETWEEN_CHECKPOINTS = 10.0


@dataclass
class WarmStartHistory:
    """What a warm start has done so far, in all its processes.

    Attributes:
        losses: of each step, in nats per token.
        seconds: wall-clock time of these steps.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


class WarmStartState(TypedDict):
    """A checkpoint: weights, optimizer state, random generators (of dropout; the CPU's first), history."""

    model: dict[str, Tensor]
    optimizer: dict[str, object]
    generators: list[Tensor]
    losses: list[float]
    seconds: float


def warm_start(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    solutions: Sequence[str],
    settings: WarmStartSettings,
    folder: Path | None = None,
    checkpoint_every: int = 25,
) -> WarmStartHistory:
    """Train a policy in place to continue prompts with their worked solutions.

    The loss is the mean negative log-likelihood of the solution's tokens and the end token.

    Args:
        policy: trained in place, with weights in fp32 before and after.
        prompts: P encoded prompts.
        solutions: P texts.
        settings: number of steps, batch size and optimizer.
        folder: for checkpoints, from the newest of which the warm start resumes; None: it cannot be resumed.
        checkpoint_every: steps between checkpoints; quick steps have fewer.

    Returns:
        The history of all steps.

    Raises:
        InputError: there are fewer prompts than one batch needs, or the training diverged.
        Interrupted: stopped by a signal, after a checkpoint.
    """
    if len(prompts) < settings.batch_size:
        raise InputError(
            f"the warm start needs batches of {settings.batch_size}, but there are {len(prompts)} worked "
            "solutions: lower warm_start.batch_size or use a larger data set"
        )
    run = _WarmStart(policy, settings, prompts, encode_solutions(policy, solutions), folder)
    first = run.restore() + 1
    saved = time.monotonic()
    policy.model.train()
    with (
        nullcontext(lambda: False) if folder is None else deferred_signals() as stopping,
        Progress("warm start", settings.steps, "steps", done=first - 1) as progress,
    ):
        for step in range(first, settings.steps + 1):
            run.step(step)
            progress.advance(loss=run.history.losses[-1])
            stop = stopping() and step < settings.steps
            if stop or (step % checkpoint_every == 0 and time.monotonic() - saved >= SECONDS_BETWEEN_CHECKPOINTS):
                run.save(step)
                saved = time.monotonic()
            if stop:
                raise Interrupted(
                    f"after step {step} of {settings.steps} of the warm start; run the same command to resume"
                )
    policy.model.eval()
    run.restore_float32()
    return run.history


class _WarmStart:
    """The policy with its optimizer, and what they learn from; see `warm_start`."""

    def __init__(
        self,
        policy: Policy,
        settings: WarmStartSettings,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        folder: Path | None,
    ) -> None:
        self.policy, self.settings, self.folder = policy, settings, folder
        self.prompts, self.responses = prompts, responses
        self.history = WarmStartHistory()
        self.masters = MasterWeights(policy.model) if settings.precision == "bfloat16" else None
        self.trained = list(policy.model.parameters()) if self.masters is None else self.masters.parameters()
        self.optimizer = torch.optim.AdamW(
            self.trained,
            lr=settings.lr,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
        )

    def step(self, step: int) -> None:
        """Make one optimizer step."""
        started, settings = time.monotonic(), self.settings
        lr = learning_rate(settings.lr, settings.lr_schedule, settings.lr_warmup_steps, settings.steps, step)
        set_learning_rate(self.optimizer, lr)
        rows = batch_rows(len(self.prompts), settings.batch_size, step, settings.seed)
        try:
            loss = self._loss(rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            clip_gradients(self.trained, settings.max_grad_norm)
        except FloatingPointError as error:
            raise _diverged(step, error) from error
        self.optimizer.step()
        if self.masters is not None:
            self.masters.refresh()
        self.history.losses.append(float(loss.detach()))
        self.history.seconds += time.monotonic() - started

    def _loss(self, rows: list[int]) -> Tensor:
        """Return the mean negative log-likelihood of the tokens of some solutions, in nats."""
        batch = collate(
            [self.prompts[row] for row in rows],
            [self.responses[row] for row in rows],
            self.policy.end_token_ids,
            self.policy.model.device,
        )
        log_probs_BT, _ = token_log_probs(self.policy.model, batch, temperature=1.0)
        return -log_probs_BT.sum() / batch.mask_BT.sum()

    def weights(self) -> dict[str, Tensor]:
        """Return the weights in fp32, by name."""
        return self.policy.model.state_dict() if self.masters is None else self.masters.state_dict()

    def restore_float32(self) -> None:
        """Give the model its fp32 weights back, if its passes used copies."""
        if self.masters is not None:
            self.optimizer.zero_grad(set_to_none=True)  # makes room for them
            weights = self.weights()
            self.policy.model.float().load_state_dict(weights)

    def save(self, step: int) -> None:
        """Write the checkpoint of a step."""
        if self.folder is None:
            return
        try:
            check_weights(self.weights())
        except FloatingPointError as error:
            raise _diverged(step, error) from error
        state: WarmStartState = {
            "model": self.weights(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [torch.get_rng_state(), *_device_generators()],
            "losses": self.history.losses,
            "seconds": self.history.seconds,
        }
        checkpoints.save(self.folder, step, state)

    def restore(self) -> int:
        """Load the newest checkpoint; return its step, or 0 if there is none."""
        newest = None if self.folder is None else checkpoints.load_newest(self.folder)
        if newest is None:
            return 0
        step, state = newest[0], cast(WarmStartState, newest[1])
        (self.masters or self.policy.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["generators"][0])
        if _device_generators():
            torch.cuda.set_rng_state_all(state["generators"][1:])
        self.history = WarmStartHistory(state["losses"], state["seconds"])
        print(f"resuming the warm start from the checkpoint of step {step}", flush=True)
        return step


def _device_generators() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _diverged(step: int, error: FloatingPointError) -> InputError:
    return InputError(f"step {step} of the warm start diverged: {error}; lower warm_start.lr")


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
