"""The DeepSpeed engine: ZeRO 0 to 3 on one or many devices, with the same arithmetic as the torch engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from astarpo.common.errors import InputError
from astarpo.common.machine import MachineSettings
from astarpo.model import sharding
from astarpo.model.log_probs import Batch, Entropy
from astarpo.model.policy import Policy
from astarpo.model.world import World
from astarpo.training import model_setup
from astarpo.training.deepspeed import optimizer
from astarpo.training.deepspeed.critic import SpreadCritic
from astarpo.training.deepspeed.modules import ScoredModel
from astarpo.training.engine import TorchEngine, Which
from astarpo.training.lagged_policy import LaggedWeights
from astarpo.training.settings import TrainSettings
from astarpo.training.states import EngineState

if TYPE_CHECKING:
    import deepspeed

TAG, CRITIC_TAG = "deepspeed", "critic"


class DeepSpeedEngine(TorchEngine):
    """As `TorchEngine`, with optimizer, gradients and parameters sharded over processes according to the ZeRO stage.

    Every process cuts the whole batch into the same micro-batches, see `balance.balanced_cut`, and takes every
    ``world.size``-th, so a gradient has the same summands as with one process, up to padding, in another order.

    Args:
        policy, reference, settings: as for `TorchEngine`, with weights in the precision of passes; DeepSpeed makes the
            fp32 master weights. With ZeRO 3 both are sharded, otherwise every process has the whole reference.
        machine: micro-batches, ZeRO stage, offload.
        world: the processes of this training.
        whole: with ZeRO 3, an unsharded copy of the policy to sample from, refreshed after each step; None if what
            samples takes weights one after another.
        critic_base: see `TorchEngine`; sharded with ZeRO 3.
    """

    makes_masters = False

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        settings: TrainSettings,
        machine: MachineSettings,
        world: World,
        whole: Policy | None = None,
        critic_base: PreTrainedModel | None = None,
    ) -> None:
        limits = machine.micro_batch, machine.micro_batch_tokens
        super().__init__(policy, reference, settings, *limits, critic_base, machine.packing)
        self.world, self.stage, self.whole = world, machine.zero_stage, whole
        self.share_prefix = False  # in passes of its own: with ZeRO 3, each would gather all weights once more
        self.lays_out = model_setup.lays_out(list(self.called.values()))
        if self.critic is not None:
            self.critic.module.cached = False
        self.in_bfloat16 = settings.precision == "bfloat16"
        model: torch.nn.Module = policy.model
        self.reference_engine: deepspeed.DeepSpeedEngine | None = None
        if self.stage == 3:
            model = ScoredModel(policy.model, self.head_of.get("policy"))
            if reference is not policy:
                frozen = ScoredModel(reference.model, self.head_of.get("reference"))
                self.reference_engine = optimizer.initialize_frozen(frozen, settings, machine)
        self.engine, self.optimizer = optimizer.initialize(model, settings, machine)
        if self.critic is not None:
            self.critic = SpreadCritic(self.critic, settings, machine)
        self._refresh_whole()
        if self.lagged is not None:
            self._lag(whole or policy)

    def _lag(self, sampled: Policy) -> None:
        """Keep the lagged weights beside those of the unsharded policy that is sampled from."""
        self.lagged = LaggedWeights(sampled.model)
        self.called["lagged"] = sampled.model
        if "policy" in self.head_of:
            linear = sampled.model.get_output_embeddings()
            self.head_of["lagged"] = replace(self.head_of["policy"], linear=linear)

    def _score(
        self, which: Which, batch: Batch, entropy: Entropy = "none", small_logits: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if self.stage < 3:
            return super()._score(which, batch, entropy, small_logits)
        if which != "lagged":
            spread = self.engine if which == "policy" else self.reference_engine or self.engine
            scores: tuple[Tensor, Tensor | None] = spread(
                batch=batch,
                temperature=self.settings.sampling.temperature,
                entropy=entropy,
                chunk_tokens=self.settings.log_prob_chunk_tokens or 0,
            )
            return scores
        # Chunk like the policy's, so that equal weights give equal log-probabilities.
        return super()._score(which, batch, entropy, small_logits=0)

    def _clear_gradients(self) -> None:
        """Do nothing: DeepSpeed clears gradients after each step."""

    def _next_is_last(self, last: bool) -> None:
        for engine in self._engines().values():
            engine.set_gradient_accumulation_boundary(is_boundary=last)

    def _engines(self) -> dict[str, deepspeed.DeepSpeedEngine]:
        """DeepSpeed's engines, by the names of their checkpoints."""
        critic = {CRITIC_TAG: self.critic.engine} if isinstance(self.critic, SpreadCritic) else {}
        return {TAG: self.engine, **critic}

    def _values_with_gradient(self, batch: Batch) -> dict[str, Tensor]:
        if not isinstance(self.critic, SpreadCritic):
            return {}
        with model_setup.recomputing(self.critic.module):
            return {"values_BT": self.critic.values_to_learn(batch)}

    def _backward(self, total: Tensor) -> None:
        # DeepSpeed averages over processes, but the loss is already a share of the whole batch's mean.
        self.engine.backward(total * self.world.size)
        if isinstance(self.critic, SpreadCritic):
            self.critic.backward()

    def _step(self) -> float:
        self.finite.check()
        norm = optimizer.step(self.engine)
        self._refresh_whole()
        return norm / self.norm_factor

    def _refresh_whole(self) -> None:
        if self.whole is None:
            return
        with torch.no_grad():
            for copy, weight in zip(self.whole.model.parameters(), self.policy.model.parameters(), strict=True):
                copy.copy_(self._whole_weight(weight))

    def _whole_weight(self, weight: Tensor) -> Tensor:
        """Return a whole parameter, in the precision of forward passes."""
        with sharding.whole([weight]):
            return weight.detach()

    def full_weights(self) -> dict[str, Tensor]:
        """Return the whole fp32 master weights by name, in RAM of the first process only; see `TorchEngine`.

        They are gathered one after another, so that the others hold a single one, for a moment.
        """
        from deepspeed.utils import safe_get_full_fp32_param

        weights = {}
        for name, weight in self.policy.model.named_parameters():
            if not weight.requires_grad:  # LoRA's base, which is still in the reference's folder
                continue
            master = safe_get_full_fp32_param(weight) if self.stage == 3 or self.in_bfloat16 else None
            whole = self._whole_weight(weight) if master is None else master
            if self.world.is_first:
                weights[name] = whole.to("cpu", torch.float32, copy=True)
        return weights

    def save_shards(self, folder: Path) -> None:
        """Write each process's shards of weights, master weights and moments."""
        for tag, engine in self._engines().items():
            engine.save_checkpoint(str(folder), tag=tag, save_latest=False)

    def load_shards(self, folder: Path) -> None:
        """Restore what `save_shards` wrote.

        Raises:
            InputError: files are missing or incomplete.
        """
        if not all(optimizer.load(one, str(folder), tag) for tag, one in self._engines().items()):
            raise InputError(f"{folder}: DeepSpeed cannot read this checkpoint; delete the folder to use an older one")
        self._refresh_whole()

    def state(self) -> EngineState:
        """Return the lagged weights, if any; the shards hold everything else."""
        return {} if self.lagged is None else {"lagged": self.lagged.weights}

    def load_state(self, state: EngineState) -> None:
        """See `state` and `load_shards`."""
        if self.lagged is not None:
            self.lagged.load(state["lagged"])
