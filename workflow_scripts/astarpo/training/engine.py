"""The torch engine: one device, fp32 master weights, gradients accumulated over micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.model.finite import FiniteLogProbs, clip_gradients
from astarpo.model.learning_rate import set_learning_rate
from astarpo.model.log_probs import Batch, Entropy, token_log_probs
from astarpo.model.lora import MARK, adapters_off
from astarpo.model.policy import Policy
from astarpo.model.shared_prefix import can_share
from astarpo.model.world import World
from astarpo.objectives import METHODS, normaliser_of
from astarpo.objectives.method import Loss
from astarpo.training import model_setup
from astarpo.training.clipping import norm_factor
from astarpo.training.compilation import called
from astarpo.training.critic import Critic
from astarpo.training.lagged_policy import LaggedWeights
from astarpo.training.microbatches import MicroBatch, micro_batches
from astarpo.training.optimizer import adamw, learning_rate_of
from astarpo.training.settings import TrainSettings
from astarpo.training.states import EngineState
from astarpo.training.updates import UpdateRows, UpdateSums, log_ratio_sums

Which = Literal["policy", "reference", "lagged"]


class TorchEngine:
    """Holds the policy and the frozen reference; computes log-probabilities and makes optimizer steps.

    If the method needs them, it also holds a critic and the weights of the last synchronisation.

    Args:
        policy: trained in place; in fp32, from which it makes copies for a run in bfloat16, see `MasterWeights`.
        reference: never changed; with LoRA the policy itself, with its adapters switched off.
        settings: of the run.
        micro_batch, micro_batch_tokens: maximum sequences and tokens per pass; see `microbatches.cut`.
        critic_base: for a critic, a model of its own to make it from; None: a copy of the reference.
        packing: whether rows are laid end to end; see `model_setup.packs`.
    """

    world = World()
    makes_masters = True  # of a run in bfloat16
    lays_out = False  # what rows share before their rests, in one pass

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        settings: TrainSettings,
        micro_batch: int,
        micro_batch_tokens: int | None = None,
        critic_base: PreTrainedModel | None = None,
        packing: bool | Literal["auto"] = False,
    ) -> None:
        self.policy, self.reference = policy, reference
        self.settings, self.limits = settings, (micro_batch, micro_batch_tokens)
        model_setup.switch_off_dropout(policy.model)
        model_setup.freeze(reference.model, policy.model)
        method, base = METHODS[settings.method], critic_base or reference.model
        in_bfloat16 = settings.precision == "bfloat16" and self.makes_masters
        # The critic first: it has fp32 masters, too.
        self.critic = Critic(base, settings, critic_base is None, in_bfloat16) if method.needs_critic else None
        self.masters = model_setup.compute_in_bfloat16(policy.model, reference.model) if in_bfloat16 else None
        self.head_of = model_setup.heads(policy.model, reference.model, settings.log_prob_chunk_tokens)
        self.trained = [weight for weight in (self.masters or policy.model).parameters() if weight.requires_grad]
        self.called = called(policy.model, reference.model, settings.compile_model is True)
        self.finite = FiniteLogProbs()  # of the passes since the last check
        # Both or neither: otherwise equal weights would give log-probabilities that differ by rounding.
        self.share_prefix = all(map(can_share, self.called.values()))
        self.packed = model_setup.packs(packing, list(self.called.values()))
        self.optimizer: torch.optim.Optimizer = adamw(self.trained, settings.lr, settings, policy.model.device)
        self.unit = normaliser_of(settings.method, settings.hyperparameters)
        self.norm_factor = norm_factor(settings)
        if self.critic is not None:
            self.critic.module.cached = self.share_prefix
            model_setup.recompute_alike(self.critic.module.body, policy.model)
        self.lagged = LaggedWeights(policy.model) if method.anchor == "lagged" else None

    def micro_batches(
        self,
        prompts: Sequence[list[int]],
        responses: Sequence[list[int]],
        rows: Sequence[int],
        groups: Sequence[int] | None = None,
    ) -> list[MicroBatch]:
        """Cut rows into micro-batches; see `microbatches.micro_batches`.

        Reference and policy use the same micro-batches, so that equal weights give bitwise equal log-probabilities.
        """
        where = self.policy.end_token_ids, self.policy.model.device, self.world.size
        return micro_batches(prompts, responses, rows, groups, self.limits, *where, self.packed, self.lays_out)

    def log_probs(self, which: Which, micro_batches: Sequence[MicroBatch], count: int, width: int) -> Tensor:
        """Compute the log-probabilities of all rows, without gradient.

        Args:
            which: ``policy``, ``reference``, or ``lagged``: the policy of the last synchronisation.
            micro_batches: contain every row once.
            count: B, number of rows.
            width: T, length of the longest response.

        Returns:
            fp32 [B, T], 0 where masked.
        """
        log_probs_BT = torch.zeros((count, width), device=self.policy.model.device)
        weights: AbstractContextManager[None] = nullcontext()
        if which == "lagged":
            weights = self.sampling_weights()
        elif which == "reference" and self.settings.lora is not None:
            weights = adapters_off(self.reference.model)
        with weights, torch.no_grad():
            for micro_batch, counts in self._share(micro_batches):
                scored_BT, _ = self._score(which, micro_batch.batch)
                if counts:
                    log_probs_BT[micro_batch.rows_B, : scored_BT.shape[1]] = scored_BT
        self.finite.check()
        return self.world.sum_into(log_probs_BT)

    def _share(self, micro_batches: Sequence[MicroBatch]) -> list[tuple[MicroBatch, bool]]:
        """Return the micro-batches of this process, each with whether it counts.

        All processes make the same number of passes, because collective operations wait for all of them: if the rows
        do not suffice for that, a process with fewer micro-batches makes a short extra pass that does not count.
        """
        share = self.world.share(micro_batches)
        most = -(-len(micro_batches) // self.world.size)
        return [(one, True) for one in share] + [(micro_batches[-1], False)] * (most - len(share))

    def _score(
        self, which: Which, batch: Batch, entropy: Entropy = "none", small_logits: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute log-probabilities of a batch and, on request, entropies in a forward pass; see `token_log_probs`."""
        name = which if which in self.called else "policy"  # which then has the lagged weights
        temperature, chunk_tokens = self.settings.sampling.temperature, self.settings.log_prob_chunk_tokens or 0
        how = temperature, entropy, self.head_of.get(name), chunk_tokens, small_logits, self.share_prefix, self.finite
        return token_log_probs(self.called[name], batch, *how)

    def score_policy(self, batch: Batch, entropy: Entropy = "none") -> tuple[Tensor, Tensor | None]:
        """Compute the policy's log-probabilities of a batch with gradient, and on request entropies."""
        with model_setup.recomputing(self.policy.model):
            return self._score("policy", batch, entropy)

    def values(self, micro_batches: Sequence[MicroBatch], count: int, width: int) -> Tensor | None:
        """Compute the critic's values of all rows, without gradient: fp32 [B, T], 0 where masked, or None."""
        if self.critic is None:
            return None
        values_BT = torch.zeros((count, width), device=self.policy.model.device)
        with torch.no_grad():
            for micro_batch, counts in self._share(micro_batches):
                critic_BT = self.critic.values(micro_batch.batch)
                if counts:
                    values_BT[micro_batch.rows_B, : critic_BT.shape[1]] = critic_BT
        return self.world.sum_into(values_BT)

    def synchronise(self) -> None:
        """Make the current policy the lagged one, if the method uses one."""
        if self.lagged is not None:
            self.lagged.synchronise()

    def sampling_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the policy has the weights to sample with: the lagged ones, if any."""
        return nullcontext() if self.lagged is None else self.lagged.in_place()

    def update(
        self,
        micro_batches: Sequence[MicroBatch],
        targets: dict[str, Tensor],
        reference_log_probs_BT: Tensor,
        loss: Loss,
        update: int,
        sampled_BT: Tensor | None = None,
        left: float | None = None,
    ) -> dict[str, float]:
        """Make one optimizer step on the rows of the micro-batches.

        Args:
            micro_batches: the rows of this step.
            targets: of all rows; those named ``..._BT`` are cut to a micro-batch's width.
            reference_log_probs_BT: of all rows, for the metrics.
            loss: of the method.
            update: number of optimizer steps so far.
            sampled_BT: the sampler's log-probabilities of all rows, if the policy is still the one that sampled.
            left: share of the training that is left, see `learning_rate.learning_rate`.

        Returns:
            Sums over sequences or tokens, gradient norm and learning rate; see `training.metrics`.
        """
        lr = learning_rate_of(self.settings, self.settings.lr, update, left)
        set_learning_rate(self.optimizer, lr)
        rows = UpdateRows(
            targets,
            reference_log_probs_BT,
            sampled_BT,
            loss,
            n_sequences=sum(len(one.rows) for one in micro_batches),
            n_tokens=sum(len(one.batch.rows_N) for one in micro_batches),
        )
        sums = UpdateSums()
        self._clear_gradients()
        share = self._share(micro_batches)
        for number, (micro_batch, counts) in enumerate(share, start=1):
            self._next_is_last(number == len(share))
            self._accumulate(micro_batch, counts, rows, sums)
        grad_norm = self._step()
        if self.critic is not None:
            self.critic.step(learning_rate_of(self.settings, self.critic.peak_lr, update, left))
        return {
            **sums.of_all(self.world),
            "sequences": rows.n_sequences,
            "tokens": rows.n_tokens,
            "grad_norm": grad_norm,
            "clipped": float(grad_norm > self.settings.max_grad_norm),
            "lr": lr,
            **(sums.gaps_of_all(self.world) if sampled_BT is not None else {}),
        }

    def _clear_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.critic is not None:
            self.critic.optimizer.zero_grad(set_to_none=True)

    def _next_is_last(self, last: bool) -> None:
        """Announce each micro-batch's pass: DeepSpeed must know which is the last before the optimizer step."""

    def _backward(self, total: Tensor) -> None:
        total.backward()

    def _accumulate(self, micro_batch: MicroBatch, counts: bool, rows: UpdateRows, sums: UpdateSums) -> None:
        """Add a micro-batch's contribution to gradient and sums; 0 if it does not count."""
        batch, mask_BT, settings = micro_batch.batch, micro_batch.batch.mask_BT, self.settings
        log_probs_BT, entropy_BT = self.score_policy(
            batch, "with_gradient" if settings.entropy_coefficient else "detached"
        )
        assert entropy_BT is not None
        # Divide by the count of the whole step, not of this micro-batch: the gradients then add up to that of the mean
        # over the global batch, however the rows are divided among micro-batches and processes.
        normaliser = rows.n_tokens if self.unit == "tokens" else rows.n_sequences
        loss_sum, metric_sums = rows.loss(
            log_probs_BT, mask_BT, rows.targets_of(micro_batch), normaliser, **self._values_with_gradient(batch)
        )
        total = loss_sum - settings.entropy_coefficient * entropy_BT.sum() / rows.n_tokens
        # A pass that does not count still runs backward, because collective operations wait for every process.
        self._backward(total if counts else total * 0.0)
        if rows.sampled_BT is not None and counts:
            sums.add_gaps(log_probs_BT, micro_batch.cut_out(rows.sampled_BT), batch)
        reference_BT = micro_batch.cut_out(rows.reference_BT)
        sums.add(counts, {"loss": total.detach(), "entropy": entropy_BT.detach().sum()})
        sums.add(counts, log_ratio_sums(log_probs_BT, reference_BT, mask_BT))
        sums.add(counts, metric_sums)

    def _values_with_gradient(self, batch: Batch) -> dict[str, Tensor]:
        if self.critic is None:
            return {}
        with model_setup.recomputing(self.critic.module):
            return {"values_BT": self.critic.values(batch)}

    def _step(self) -> float:
        norm = clip_gradients(self.trained, self.settings.max_grad_norm * self.norm_factor, self.finite)
        self.optimizer.step()
        if self.masters is not None:
            self.masters.refresh()
        return norm / self.norm_factor

    def full_weights(self) -> dict[str, Tensor]:
        """Return the whole fp32 weights by name, with LoRA the adapters'; spread ones in the first process only."""
        named = (self.masters or self.policy.model).state_dict().items()
        return {name: weight for name, weight in named if self.settings.lora is None or MARK in name}

    def save_shards(self, folder: Path) -> None:
        """Write each process's shards to the folder of a checkpoint; this engine has none."""

    def load_shards(self, folder: Path) -> None:
        """Restore what `save_shards` wrote."""

    def state(self) -> EngineState:
        """Return everything needed to resume exactly: trained weights and optimizer moments."""
        state: EngineState = {"model": self.full_weights(), "optimizer": self.optimizer.state_dict()}
        if self.critic is not None:
            state["critic"] = self.critic.state()
        return state if self.lagged is None else {**state, "lagged": self.lagged.weights}

    def load_state(self, state: EngineState) -> None:
        """Restore the state from a checkpoint; the reference stays as loaded."""
        (self.masters or self.policy.model).load_state_dict(state["model"], strict=self.settings.lora is None)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.critic is not None:
            self.critic.load_state(state["critic"])
        if self.lagged is not None:
            self.lagged.load(state["lagged"])
