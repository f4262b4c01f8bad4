"""The DeepSpeed engine: ZeRO 0 to 3 on one or many devices, with the arithmetic of the plain one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from astarpo.errors import InputError
from astarpo.logprobs import Batch
from astarpo.references.models import Policy
from astarpo.training.engine import TorchEngine
from astarpo.training.gathered import ScoredModel
from astarpo.training.settings import MachineSettings, TrainSettings
from astarpo.training.world import World

if TYPE_CHECKING:
    from torch import Tensor

TAG = "deepspeed"


def deepspeed_config(settings: TrainSettings, machine: MachineSettings) -> dict[str, Any]:
    """What DeepSpeed is told.

    Batch sizes are 1, as the engine says itself which pass is the last before a step, and weighs each micro-batch by
    the whole batch.

    Args:
        settings: optimizer, clipping and precision.
        machine: ZeRO stage and what is offloaded to the CPU's memory.
    """
    on_cpu = machine.device == "cpu"
    zero: dict[str, Any] = {"stage": machine.zero_stage}
    if machine.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": not on_cpu}
    if machine.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": not on_cpu}
    # DeepSpeed's own Adam of the CPU is compiled when first used, and worth it where the GPU waits for it.
    torch_adam = on_cpu or not machine.offload_optimizer
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bfloat16"},
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": settings.lr, "betas": list(settings.adam_betas), "eps": settings.adam_eps,
                "weight_decay": settings.weight_decay, "torch_adam": torch_adam,
            },
        },
    }  # fmt: skip


class DeepSpeedEngine(TorchEngine):
    """As `TorchEngine`, with optimizer, gradients and parameters spread over processes as the ZeRO stage says.

    Every process cuts the whole batch into the same micro-batches and takes every ``world.size``-th, so
    the sums that make a gradient are those of one process, in another order.

    Args:
        policy, reference, settings: as for `TorchEngine`; in bfloat16 both models' weights become bfloat16, and the
            fp32 masters are DeepSpeed's. The reference is whole in every process.
        machine: micro-batches, ZeRO stage, offload.
        world: the processes of this training.
        whole: with ZeRO 3, another copy of the policy that is kept up to date and whole, to sample from.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        settings: TrainSettings,
        machine: MachineSettings,
        world: World,
        whole: Policy | None = None,
    ) -> None:
        import deepspeed

        super().__init__(
            policy, reference, settings, machine.micro_batch, machine.micro_batch_tokens
        )
        self.world, self.stage, self.whole = world, machine.zero_stage, whole
        self.in_bfloat16 = settings.precision == "bfloat16"
        trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
        model = policy.model
        if self.stage == 3:
            model = ScoredModel(model, self.head_of.get("policy"))
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=model, model_parameters=trained, config=deepspeed_config(settings, machine)
        )
        # Each weight as DeepSpeed has it, so that equal weights give equal log-probabilities; it leaves buffers alone.
        for other in filter(None, (reference, whole)):
            pairs = zip(other.model.parameters(), policy.model.parameters(), strict=True)
            for weight, trained_weight in pairs:
                weight.data = weight.data.to(trained_weight.dtype)
        self._refresh_whole()

    def _score(
        self, which: Literal["policy", "reference"], batch: Batch, **more: Any
    ) -> tuple[Tensor, Tensor | None]:
        if self.stage < 3:
            return super()._score(which, batch, **more)
        if which == "policy" or self.settings.lora is not None:
            found: tuple[Tensor, Tensor | None] = self.engine(batch=batch, **self._how(), **more)
            return found
        # Cut as the policy's are: equal weights shall give equal log-probabilities.
        return super()._score(which, batch, small_logits=0, **more)

    def autocast(self) -> Any:
        """Nothing: in bfloat16 the weights are bfloat16 already."""
        return nullcontext()

    def _clear_gradients(self) -> None:
        """DeepSpeed does so after each step."""

    def _next_is_last(self, last: bool) -> None:
        self.engine.set_gradient_accumulation_boundary(is_boundary=last)

    def _backward(self, total: Tensor) -> None:
        # DeepSpeed takes the mean over processes; the loss is already a share of the whole batch's mean.
        self.engine.backward(total * self.world.size)

    def _step(self) -> float:
        import torch

        # Without ZeRO and in fp32 DeepSpeed clips, but keeps no norm; the gradients are whole then.
        own = [p.grad for p in self.policy.model.parameters() if p.grad is not None]
        own_norm = torch.nn.utils.get_total_norm(own)
        self.engine.step()
        found = self.engine.get_global_grad_norm()
        norm = float(own_norm if found is None else found)
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient's norm is {norm}")
        self._refresh_whole()
        return norm

    def _refresh_whole(self) -> None:
        if self.whole is None:
            return
        import torch

        with torch.no_grad():
            for mine, theirs in zip(
                self.whole.model.parameters(), self.policy.model.parameters(), strict=True
            ):
                mine.copy_(self._gathered(theirs))

    def _gathered(self, weight: Any) -> Tensor:
        """A parameter as it is used in passes, whole."""
        import deepspeed

        if self.stage < 3:
            return weight.detach()
        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()

    @contextmanager
    def sampling_weights(self) -> Iterator[None]:
        """The newest weights: methods with lagged ones are refused."""
        yield

    def full_weights(self) -> dict[str, Tensor]:
        """The fp32 masters by name, whole, in every process; all processes must ask."""
        from deepspeed.utils import safe_get_full_fp32_param

        found = {}
        for name, weight in self.policy.model.named_parameters():
            master = (
                safe_get_full_fp32_param(weight) if self.stage == 3 or self.in_bfloat16 else None
            )
            whole = self._gathered(weight) if master is None else master
            found[name] = whole.float().cpu().clone()
        return found

    def save_shards(self, folder: Path) -> None:
        """Write weights, masters and moments, each process its own."""
        self.engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)

    def load_shards(self, folder: Path) -> None:
        """Read what `save_shards` wrote.

        Raises:
            InputError: the files are not whole.
        """
        loaded, _ = self.engine.load_checkpoint(str(folder), tag=TAG)
        if loaded is None:
            raise InputError(
                f"{folder}: DeepSpeed cannot read this checkpoint; delete the folder, and an older one serves"
            )
        self._refresh_whole()

    def state(self) -> dict[str, Any]:
        """Nothing beside the shards."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing: see `load_shards`."""
