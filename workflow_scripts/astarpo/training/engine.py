"""The plain torch engine: one device, fp32 master weights, gradients accumulated over micro-batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from astarpo.model.learning_rate import learning_rate, set_learning_rate
from astarpo.model.log_probs import Batch, collate, token_log_probs
from astarpo.model.lora import adapters_off
from astarpo.model.policy import Policy
from astarpo.model.precision import autocast
from astarpo.objectives import METHODS, normaliser_of
from astarpo.objectives.loss_terms import k3
from astarpo.training import model_setup, sampler_gap
from astarpo.training.compilation import CompiledModel
from astarpo.training.critic import Critic
from astarpo.training.lagged_policy import LaggedWeights
from astarpo.training.microbatches import MicroBatch, cut
from astarpo.training.settings import TrainSettings
from astarpo.training.world import World

Which = Literal["policy", "reference", "lagged"]


class TorchEngine:
    """Holds the policy and the frozen reference; computes log-probabilities and makes optimizer steps.

    If the method asks for them, also a critic, and the weights of the policy of the last synchronisation.

    Args:
        policy: trained in place; its weights are the fp32 masters.
        reference: never changed; with LoRA the policy itself, whose adapters are then switched off.
        settings: of the run.
        micro_batch: sequences in one pass.
        micro_batch_tokens: most tokens in one pass, padding included; None: any number.
    """

    world = World()

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        settings: TrainSettings,
        micro_batch: int,
        micro_batch_tokens: int | None = None,
    ) -> None:
        self.policy, self.reference = policy, reference
        self.settings, self.micro_batch = settings, micro_batch
        self.micro_batch_tokens = micro_batch_tokens
        model_setup.switch_off_dropout(policy.model)
        reference.model.eval()
        if settings.lora is None:  # else the two are one model
            reference.model.requires_grad_(False)
        self.head_of = model_setup.heads(policy.model, reference.model, settings.log_prob_chunk_tokens)
        trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
        self.called: dict[str, Any] = {"policy": policy.model, "reference": reference.model}
        if settings.compile_model:
            self.called = {name: CompiledModel(model) for name, model in self.called.items()}
        self.optimizer = torch.optim.AdamW(
            trained,
            lr=settings.lr,
            betas=settings.adam_betas,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            fused=policy.model.device.type == "cuda" or None,
        )
        method = METHODS[settings.method]
        self.unit = normaliser_of(settings.method, settings.hyperparameters)
        self.critic = Critic(reference.model, settings) if method.needs_critic else None
        if self.critic is not None and policy.model.is_gradient_checkpointing:
            model_setup.recompute_activations(self.critic.module.body)
        self.lagged = LaggedWeights(policy.model) if method.anchor == "lagged" else None

    def micro_batches(
        self,
        prompts: Sequence[list[int]],
        responses: Sequence[list[int]],
        rows: Sequence[int],
        groups: Sequence[int] | None = None,
    ) -> list[MicroBatch]:
        """Cut rows into micro-batches of similar length, each padded to its own longest.

        The same cut serves reference and policy, so that equal weights give equal log-probabilities
        to the last bit.

        Args:
            prompts, responses: token ids of every row of the rollout.
            rows: the rows of one optimizer step.
            groups: of every row of the rollout, where the rows of a group must not be parted: a micro-batch
                then takes whole groups only, and one at least, even if that is more than it should hold.
        """
        lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
        micro_batches = []
        whole = groups or range(len(prompts))
        for chosen in cut(rows, lengths, self.micro_batch, self.micro_batch_tokens, whole):
            batch = collate(
                [prompts[row] for row in chosen],
                [responses[row] for row in chosen],
                self.policy.end_token_ids,
                self.policy.model.device,
            )
            micro_batches.append(MicroBatch(chosen, batch))
        return micro_batches

    def log_probs(
        self,
        which: Which,
        micro_batches: Sequence[MicroBatch],
        count: int,
        width: int,
    ) -> Tensor:
        """Log-probabilities of all rows, without gradient.

        Args:
            which: ``policy``, ``reference``, or ``lagged``: the policy of the last synchronisation.
            micro_batches: they hold every row once.
            count: B, number of rows.
            width: T, length of the longest response.

        Returns:
            fp32 [B, T], 0 where masked.
        """
        gathered_BT = torch.zeros((count, width), device=self.policy.model.device)
        weights: AbstractContextManager[None] = nullcontext()
        if which == "lagged":
            weights = self.sampling_weights()
        elif which == "reference" and self.settings.lora is not None:
            weights = adapters_off(self.reference.model)
        with weights, torch.no_grad(), self.autocast():
            for micro_batch, counts in self._share(micro_batches):
                log_probs_BT, _ = self._score(which, micro_batch.batch)
                if counts:
                    gathered_BT[micro_batch.rows, : log_probs_BT.shape[1]] = log_probs_BT
        return self.world.sum_into(gathered_BT)

    def _share(self, micro_batches: Sequence[MicroBatch]) -> list[tuple[MicroBatch, bool]]:
        """The micro-batches of this process, as many as any other has: the last may be there to keep step only."""
        share = self.world.share(micro_batches)
        most = -(-len(micro_batches) // self.world.size)
        return [(one, True) for one in share] + [(micro_batches[0], False)] * (most - len(share))

    def _score(self, which: Which, batch: Batch, **more: Any) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities of a batch and, if ``more`` asks for it, entropies: a forward pass."""
        name = which if which in self.called else "policy"  # which then has the lagged weights
        return token_log_probs(self.called[name], batch, head=self.head_of.get(name), **self._how(), **more)

    def _how(self) -> dict[str, Any]:
        chunk_tokens = self.settings.log_prob_chunk_tokens or 0
        return {"temperature": self.settings.sampling.temperature, "chunk_tokens": chunk_tokens}

    def values(self, micro_batches: Sequence[MicroBatch], count: int, width: int) -> Tensor | None:
        """The critic's values of all rows, without gradient: fp32 [B, T], 0 where masked; None without a critic."""
        if self.critic is None:
            return None
        gathered_BT = torch.zeros((count, width), device=self.policy.model.device)
        with torch.no_grad(), self.autocast():
            for micro_batch, counts in self._share(micro_batches):
                values_BT = self.critic.values(micro_batch.batch)
                if counts:
                    gathered_BT[micro_batch.rows, : values_BT.shape[1]] = values_BT
        return self.world.sum_into(gathered_BT)

    def synchronise(self) -> None:
        """Make the current policy the lagged one, where the method has one."""
        if self.lagged is not None:
            self.lagged.synchronise()

    def sampling_weights(self) -> AbstractContextManager[None]:
        """Let the policy have the weights that responses are drawn with: the lagged ones, where there are any."""
        return nullcontext() if self.lagged is None else self.lagged.in_place()

    def update(
        self,
        micro_batches: Sequence[MicroBatch],
        targets: dict[str, Tensor],
        reference_log_probs_BT: Tensor,
        loss: Callable[..., tuple[Tensor, dict[str, Tensor]]],
        update: int,
        sampled_BT: Tensor | None = None,
        left: float | None = None,
    ) -> dict[str, float]:
        """Make one optimizer step on the rows of the micro-batches.

        Args:
            micro_batches: the rows of this step.
            targets: of all rows; names that end in ``_BT`` are cut to a micro-batch's width.
            reference_log_probs_BT: of all rows, for the metrics.
            loss: of the method.
            update: optimizer steps made so far.
            sampled_BT: the sampler's log-probabilities of all rows, if the policy is still the one that sampled.
            left: share of the training that is left, see `learning_rate.learning_rate`.

        Returns:
            Sums over sequences or tokens, and what the optimizer did; see `training.metrics`.
        """
        lr = self._learning_rate(self.settings.lr, update, left)
        set_learning_rate(self.optimizer, lr)
        n_sequences = sum(len(one.rows) for one in micro_batches)
        n_tokens = sum(int(one.batch.mask_BT.sum()) for one in micro_batches)
        sums: dict[str, float] = defaultdict(float)
        gaps_N: list[Tensor] = []
        self._clear_gradients()
        share = self._share(micro_batches)
        for number, (micro_batch, counts) in enumerate(share, start=1):
            self._next_is_last(number == len(share))
            added = self._accumulate(
                micro_batch,
                targets,
                reference_log_probs_BT,
                loss,
                n_sequences,
                n_tokens,
                sampled_BT,
                gaps_N,
                counts,
            )
            for name, value in added:
                sums[name] += float(value) if counts else 0.0
        grad_norm = self._step()
        if self.critic is not None:
            self.critic.step(self._learning_rate(self.critic.peak_lr, update, left))
        return {
            **self._of_all(sums),
            "sequences": n_sequences,
            "tokens": n_tokens,
            "grad_norm": grad_norm,
            "clipped": float(grad_norm > self.settings.max_grad_norm),
            "lr": lr,
            **self._gaps_of_all(gaps_N, sampled_BT is not None),
        }

    def _of_all(self, sums: dict[str, float]) -> dict[str, float]:
        every = self.world.gather(dict(sums))
        return {name: sum(one[name] for one in every) for name in sums}

    def _gaps_of_all(self, gaps_N: list[Tensor], asked: bool) -> dict[str, float]:
        if not asked:
            return {}
        # To the CPU first: a tensor that was sent comes back on the sender's GPU.
        every = self.world.gather([one.cpu() for one in gaps_N])
        return sampler_gap.summarise([one for of_process in every for one in of_process])

    def _clear_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.critic is not None:
            self.critic.optimizer.zero_grad(set_to_none=True)

    def _next_is_last(self, last: bool) -> None:
        """Called before the passes of each micro-batch; ``last`` is the one before the optimizer step."""

    def _backward(self, total: Tensor) -> None:
        total.backward()

    def _accumulate(
        self,
        micro_batch: MicroBatch,
        targets: dict[str, Tensor],
        reference_log_probs_BT: Tensor,
        loss: Callable[..., tuple[Tensor, dict[str, Tensor]]],
        n_sequences: int,
        n_tokens: int,
        sampled_BT: Tensor | None,
        gaps_N: list[Tensor],
        counts: bool,
    ) -> Iterator[tuple[str, Tensor]]:
        """Add one micro-batch's share of the gradient, 0 if it does not count; yield its sums, add to the gaps."""
        batch, settings = micro_batch.batch, self.settings
        width = batch.mask_BT.shape[1]
        rows_targets = {
            name: value[micro_batch.rows, :width] if name.endswith("_BT") else value[micro_batch.rows]
            for name, value in targets.items()
        }
        with self.autocast(), model_setup.recomputing(self.policy.model):
            log_probs_BT, entropy_BT = self._score(
                "policy",
                batch,
                entropy="with_gradient" if settings.entropy_coefficient else "detached",
            )
        assert entropy_BT is not None
        normaliser = n_tokens if self.unit == "tokens" else n_sequences
        loss_sum, metric_sums = loss(
            log_probs_BT, batch.mask_BT, rows_targets, normaliser, **self._values_with_gradient(batch)
        )
        total = loss_sum - settings.entropy_coefficient * entropy_BT.sum() / n_tokens
        self._backward(total if counts else total * 0.0)
        if sampled_BT is not None and counts:
            cut_BT = sampled_BT[micro_batch.rows, :width]
            gaps_N.append(sampler_gap.token_gaps(log_probs_BT, cut_BT, batch.mask_BT))
        log_ratio_BT = log_probs_BT.detach() - reference_log_probs_BT[micro_batch.rows, :width]
        log_ratio_B = log_ratio_BT.sum(-1)
        # In double precision: of a response's tokens most differ by less than fp32 can tell from rounding.
        kl_B = k3(log_ratio_BT.double(), log_ratio_BT.new_zeros(())).sum(-1)
        length_B = batch.mask_BT.sum(-1)
        yield "loss", total.detach()
        yield "entropy", entropy_BT.detach().sum()
        yield "log_ratio", log_ratio_B.sum()
        yield "log_ratio_squared", log_ratio_B.square().sum()
        yield "log_ratio_per_token", (log_ratio_B / length_B).sum()
        yield "kl", kl_B.sum()
        yield "kl_per_token", (kl_B / length_B).sum()
        yield from metric_sums.items()

    def _values_with_gradient(self, batch: Batch) -> dict[str, Tensor]:
        if self.critic is None:
            return {}
        with self.autocast(), model_setup.recomputing(self.critic.module):
            return {"values_BT": self.critic.values(batch)}

    def _learning_rate(self, peak: float, update: int, left: float | None) -> float:
        settings = self.settings
        return learning_rate(
            peak,
            settings.lr_schedule,
            settings.lr_warmup_steps,
            settings.steps * settings.updates_per_rollout,
            update + 1,
            left,
        )

    def _step(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(
            self.policy.model.parameters(), self.settings.max_grad_norm, error_if_nonfinite=True
        )
        self.optimizer.step()
        return float(norm)

    def autocast(self) -> Any:
        """The precision of forward passes, the same for policy and reference."""
        return autocast(self.policy.model.device.type, self.settings.precision)

    def full_weights(self) -> dict[str, Tensor]:
        """The policy's weights by name, fp32 and whole, in every process."""
        return dict(self.policy.model.state_dict())

    def save_shards(self, folder: Path) -> None:
        """Write what each process holds for itself into the folder of a checkpoint; here there is nothing."""

    def load_shards(self, folder: Path) -> None:
        """Read what `save_shards` wrote."""

    def state(self) -> dict[str, Any]:
        """Everything a checkpoint must hold to go on exactly: weights and optimizer moments."""
        state: dict[str, Any] = {"model": self.policy.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.critic is not None:
            state["critic"] = self.critic.state()
        if self.lagged is not None:
            state["lagged"] = self.lagged.weights
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint; the reference stays what prepare_reference left."""
        self.policy.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.critic is not None:
            self.critic.load_state(state["critic"])
        if self.lagged is not None:
            self.lagged.load(state["lagged"])
