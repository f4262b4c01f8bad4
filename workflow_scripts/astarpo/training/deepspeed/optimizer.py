"""DeepSpeed's engine around a model: configuration, optimizer steps and checkpoints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from astarpo.common.machine import MachineSettings
from astarpo.training.clipping import norm_factor
from astarpo.training.settings import TrainSettings

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


def deepspeed_config(settings: TrainSettings, machine: MachineSettings) -> dict[str, Any]:
    """Return DeepSpeed's configuration.

    Batch sizes are 1, because our engine marks the last pass before a step, and normalises each micro-batch by the
    whole batch.

    Args:
        settings: optimizer, clipping and precision.
        machine: ZeRO stage and offloading to CPU memory.
    """
    on_cpu = machine.device == "cpu"
    zero_settings: dict[str, object] = {"stage": machine.zero_stage}
    if machine.offload_optimizer:
        zero_settings["offload_optimizer"] = {"device": "cpu", "pin_memory": not on_cpu}
    if machine.offload_parameters:
        zero_settings["offload_param"] = {"device": "cpu", "pin_memory": not on_cpu}
    # DeepSpeed's CPU Adam is compiled at first use, which pays off only with offloading from a GPU.
    torch_adam = on_cpu or not machine.offload_optimizer
    in_bfloat16 = settings.precision == "bfloat16"
    # In bfloat16, sums over many micro-batches lose small summands. DeepSpeed 0.19 refuses fp32 sums without ZeRO; with
    # ZeRO 1 it adds each micro-batch's gradient several times, or, offloaded, ignores the setting.
    sum_dtype = {"grad_accum_dtype": "fp32"} if in_bfloat16 and machine.zero_stage >= 2 else {}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm * norm_factor(settings),
        "bf16": {"enabled": in_bfloat16},
        "data_types": sum_dtype,
        "zero_optimization": zero_settings,
        "zero_force_ds_cpu_optimizer": False,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": settings.lr,
                "betas": list(settings.adam_betas),
                "eps": settings.adam_eps,
                "weight_decay": settings.weight_decay,
                "torch_adam": torch_adam,
            },
        },
    }


def initialize(
    model: torch.nn.Module, settings: TrainSettings, machine: MachineSettings
) -> tuple[DeepSpeedEngine, torch.optim.Optimizer]:
    """Wrap a model in a DeepSpeed engine.

    Args:
        model: weights with ``requires_grad`` are trained.
        settings, machine: see `deepspeed_config`.

    Returns:
        DeepSpeed's engine and its optimizer.
    """
    import deepspeed

    trained = [weight for weight in model.parameters() if weight.requires_grad]
    engine, optimizer, _, _ = deepspeed.initialize(
        model=model, model_parameters=trained, config=deepspeed_config(settings, machine)
    )
    return engine, optimizer


def initialize_frozen(model: torch.nn.Module, settings: TrainSettings, machine: MachineSettings) -> DeepSpeedEngine:
    """Wrap a model that is not trained, whose weights ZeRO 3 gathers for each pass.

    Args:
        model: none of its weights has ``requires_grad``.
        settings, machine: see `deepspeed_config`.
    """
    import deepspeed

    config = deepspeed_config(settings, machine)
    zero_settings = {key: value for key, value in config["zero_optimization"].items() if key != "offload_optimizer"}
    # By default up to 10^9 weights would stay gathered during the updates, for the next pass.
    zero_settings["stage3_max_reuse_distance"] = 0
    of_frozen = {key: config[key] for key in ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "bf16")}
    engine, *_ = deepspeed.initialize(model=model, config={**of_frozen, "zero_optimization": zero_settings})
    return engine


def step(engine: DeepSpeedEngine) -> float:
    """Clip gradients and make an optimizer step.

    Args:
        engine: from `initialize`, after the last backward pass of the batch.

    Returns:
        The gradient's norm before clipping.

    Raises:
        FloatingPointError: the norm is not finite.
    """
    # In fp32 without ZeRO, DeepSpeed clips but does not keep the norm; the gradients are whole then.
    gradients = [p.grad for p in engine.module.parameters() if p.grad is not None]
    gradients_norm = torch.nn.utils.get_total_norm(gradients)
    engine.step()
    kept_norm = engine.get_global_grad_norm()
    norm = float(gradients_norm if kept_norm is None else kept_norm)
    if not math.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {norm}")
    return norm


def load(engine: DeepSpeedEngine, folder: str, tag: str) -> bool:
    """Load what an engine's ``save_checkpoint`` wrote; False if files are missing or incomplete."""
    loaded, _ = engine.load_checkpoint(folder, tag=tag)
    return loaded is not None
