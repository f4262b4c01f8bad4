"""Settings that change speed and memory but no results: passed beside a stage's settings and never compared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.common.kinds import Count, Distinct, OpenShare, Positive, StepRange
from astarpo.common.settings import Section

# Of a GPU's memory, for a vLLM that has the GPU alone: CUDA's context and other libraries need the rest.
SHARE_ALONE = 0.9


class Machine(Section):
    """What changes speed and memory but no results: it never makes a stage run again."""

    device: Literal["cpu", "cuda"] = Field("cpu", description="device that holds the models")
    devices: Count = Field(
        1,
        description="devices (on a CPU: processes) per node for one training; above 1 needs engine deepspeed",
    )
    nodes: Count = Field(1, description="nodes for one training, in a SLURM allocation; above 1 needs engine deepspeed")
    micro_batch: Count = Field(32, description="sequences in one forward and backward pass")
    micro_batch_tokens: Count | None = Field(
        None, description="most tokens in one pass, including padding unless rows are packed; null: no limit"
    )
    packing: bool | Literal["auto"] = Field(
        "auto",
        description="lay the rows of a pass end to end instead of padding them; auto: with `attention: "
        "flash_attention_2`. Where a model cannot be read so, with eager attention, windows or compiled passes, rows "
        "are padded, and true says why",
    )
    activation_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass instead of keeping them"
    )
    zero_stage: Annotated[int, Field(ge=0, le=3)] = Field(
        2,
        description="what DeepSpeed shards across devices: 1 optimizer states, 2 also gradients, 3 also weights. "
        "With precision bfloat16, 2 and 3 sum the gradients of micro-batches in float32, 0 and 1 in bfloat16",
    )
    offload_optimizer: bool = Field(
        False,
        description="keep optimizer states in CPU memory; needs engine deepspeed, zero_stage 1 to 3",
    )
    offload_parameters: bool = Field(
        False, description="keep weights in CPU memory; needs engine deepspeed, zero_stage 3"
    )
    sampling_batch: Count = Field(
        256, description="responses drawn at a time; on a GPU, vLLM draws as many as its cache holds, up to 512"
    )
    checkpoint_every: Count = Field(25, description="steps between checkpoints")
    grading_workers: Count = Field(2, description="processes that run slow verifiers (`math`, your own)")
    trackers: Annotated[tuple[Literal["tensorboard", "wandb"], ...], Distinct] = Field(
        (),
        description="trackers to log trainings to, besides `make watch`; each needs its package installed",
    )
    profile_steps: StepRange | None = Field(
        None,
        description="first and last step of which torch's profiler writes a trace beside the run's metrics; these "
        "steps are slower, and need RAM for the trace; null: none",
    )
    sampler_tensor_parallel: Count = Field(
        1,
        description="GPUs that share the model in vLLM, in stage 1 and evaluations; trainings that sample with vLLM "
        "need 1, as each of their devices has a vLLM of its own",
    )
    sampler_memory_share: OpenShare = Field(
        0.3,
        description="share of the GPU's memory for vLLM in a training, beside the policy; in stage 1 and evaluations, "
        "it has the GPU alone and takes 0.9; on a CPU, share of the RAM for its cache alone, in all of them",
    )
    sampler_sleep_level: Annotated[int, Field(ge=0, le=2)] = Field(
        0,
        description="what vLLM frees on a GPU while the policy is trained: 0 nothing, 1 its cache, moving the weights "
        "to RAM, 2 both",
    )

    def profile_error(self, key: str, steps: int) -> str | None:
        """Say which of the steps to trace a training does not make.

        Args:
            key: of the training's number of steps, for the message.
            steps: that number.
        """
        if self.profile_steps is None or self.profile_steps[1] <= steps:
            return None
        return (
            f"machine.profile_steps = {list(self.profile_steps)}: {self.profile_steps[1]} is above {key}, {steps}; "
            "choose steps that every training makes, or leave it out"
        )

    def vllm_share(self, trained: bool) -> float:
        """Compute the share of a GPU's memory for vLLM; on a CPU, of the RAM for its cache.

        Args:
            trained: whether vLLM shares the device with a policy that is being trained.
        """
        return self.sampler_memory_share if trained or self.device == "cpu" else SHARE_ALONE


class MachineSettings(Machine):
    """The machine settings that a job receives."""

    max_minutes: Positive | None = Field(None, description="stop with a checkpoint after this time; null: never")
