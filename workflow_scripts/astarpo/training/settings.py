"""What a training is told: settings that change numbers, and machine settings that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from astarpo.common.errors import InputError
from astarpo.data.prompts import PromptSettings
from astarpo.rewards.grading import GradingSettings
from astarpo.sampling import SamplingSettings


@dataclass(frozen=True)
class TrainSettings:
    """Everything that changes a number of the run, its seed apart.

    Attributes:
        method, hyperparameters: the objective and its own settings (A*-PO: beta2); see `objectives.METHODS`.
        steps: rollout batches; the most of them, where max_generated_tokens is given.
        max_generated_tokens: the training ends with the rollout batch that reaches them; None: after ``steps``.
        prompts_per_batch, responses_per_prompt: the size of one.
        updates_per_rollout: optimizer steps on each rollout batch, each on its share of the prompts.
        lr, lr_schedule, lr_warmup_steps: learning rate over the optimizer steps.
        adam_betas, adam_eps, weight_decay, max_grad_norm: AdamW and gradient clipping.
        entropy_coefficient: weight of the mean token entropy subtracted from the loss (the paper's loss: 0).
        validate_every: steps between looks at the validation prompts; the first is before training.
        lora: ``rank``, ``alpha`` and ``targets`` of the adapters that alone are trained; None: all weights are.
        engine, precision, torch_threads, compile_model: what does the arithmetic.
        sampling_engine: what draws the rollouts.
        max_sampler_gap: largest mean gap between its log-probabilities and the trainer's, see `training.sampler_gap`.
        log_prob_chunk_tokens: response tokens whose logits exist at a time, see `chunked_log_probs`; None: all of them.
        sampling, prompting, grading: as in stage 1.
    """

    method: str
    hyperparameters: dict[str, Any]
    steps: int
    max_generated_tokens: int | None
    prompts_per_batch: int
    responses_per_prompt: int
    updates_per_rollout: int
    lr: float
    lr_schedule: str
    lr_warmup_steps: int
    adam_betas: tuple[float, float]
    adam_eps: float
    weight_decay: float
    max_grad_norm: float
    entropy_coefficient: float
    validate_every: int
    lora: dict[str, Any] | None
    engine: str
    precision: str
    torch_threads: int
    compile_model: bool
    log_prob_chunk_tokens: int | None
    sampling_engine: str
    max_sampler_gap: float | None
    sampling: SamplingSettings
    prompting: PromptSettings
    grading: GradingSettings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """Build from a stage's settings JSON.

        Raises:
            InputError: a key is missing or unknown.
        """
        parts = {
            "sampling": SamplingSettings,
            "prompting": PromptSettings,
            "grading": GradingSettings,
        }
        known = dict(settings)
        for name, part in parts.items():
            known[name] = _build(part, known.get(name, {}), f"settings.{name}")
        known["adam_betas"] = tuple(known.get("adam_betas", ()))
        return _build(cls, known, "settings")


@dataclass(frozen=True)
class MachineSettings:
    """What changes speed and memory only.

    Attributes:
        device: ``cpu`` or ``cuda``.
        devices, nodes: how many processes, on how many nodes; the launcher starts them.
        micro_batch: sequences in one forward and backward pass.
        micro_batch_tokens: most tokens in one pass, padding included; None: any number.
        activation_checkpointing: compute activations again in the backward pass instead of keeping them.
        zero_stage, offload_optimizer, offload_parameters: of DeepSpeed, see `training.deepspeed.optimizer`.
        sampling_batch: responses drawn at a time.
        checkpoint_every: steps between checkpoints.
        grading_workers: processes that judge responses where that is slow.
        max_minutes: stop with a checkpoint after so long; None never does.
        trackers: where the run can be followed, see `training.trackers`.
        sampler_tensor_parallel, sampler_memory_share, sampler_sleep_level: of vLLM, see `sampling.vllm_engine`.
    """

    device: str
    devices: int
    nodes: int
    micro_batch: int
    sampling_batch: int
    checkpoint_every: int
    grading_workers: int
    max_minutes: float | None
    trackers: Sequence[str]
    micro_batch_tokens: int | None = None
    activation_checkpointing: bool = False
    zero_stage: int = 2
    offload_optimizer: bool = False
    offload_parameters: bool = False
    sampler_tensor_parallel: int = 1
    sampler_memory_share: float = 0.3
    sampler_sleep_level: int = 0

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Self:
        """Build from the machine JSON.

        Raises:
            InputError: a key is missing or unknown.
        """
        return _build(cls, settings, "machine")


def _build(kind: Any, values: dict[str, Any], where: str) -> Any:
    wanted = {field.name for field in fields(kind)}
    for name in sorted(wanted ^ set(values)):
        problem = "is missing" if name in wanted else "is unknown"
        raise InputError(f"{where}.{name} {problem}; the keys are {', '.join(sorted(wanted))}")
    return kind(**values)
