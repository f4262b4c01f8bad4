"""Settings of a training that affect numbers; those of the machine are in `common.machine`."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, field_validator, model_serializer
from pydantic_core import PydanticCustomError

from astarpo.common.kinds import (
    LEAST_DIVISOR,
    AdamBetas,
    AdamEpsilon,
    Count,
    LearningRate,
    NotNegative,
    OpenShare,
    Positive,
    Schedule,
    Text,
)
from astarpo.common.settings import Section
from astarpo.data.settings import PromptSettings
from astarpo.model.settings import Lora
from astarpo.objectives.method import Hyperparameter
from astarpo.rewards.settings import GradingSettings
from astarpo.sampling.settings import PolicySettings, SamplingSettings
from astarpo.stage_one.settings import EstimateSettings

Ending = Literal["steps", "max_generated_tokens", "validation_below_best", "kl_per_sequence"]
EARLY: tuple[Ending, ...] = ("validation_below_best", "kl_per_sequence")


def _ascending(steps: tuple[int, ...]) -> tuple[int, ...]:
    if not steps or steps[0] < 1 or any(later <= step for step, later in pairwise(steps)):
        raise PydanticCustomError(
            "ascending",
            "must be steps from 1 on, each later than the one before it; step 0 is the reference, which is evaluated "
            "in any case",
        )
    return steps


class Keep(Section):
    """Which weights a training exports."""

    best: Literal["validation_reward"] | None = Field(
        None,
        description="export the weights of the best validation, of equal ones the earliest, in place of the last; "
        "step 0, the reference, counts. The best of many noisy rewards is too high: compare runs on a benchmark",
    )
    steps: Annotated[tuple[int, ...], AfterValidator(_ascending)] | None = Field(
        None,
        description="also export the weights after each of these steps and evaluate them on the run's benchmarks; "
        "ascending, at most the run's `steps`. Each takes the disk space of two models",
    )

    @model_serializer(mode="wrap")
    def _without_null(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what is not set, so that settings without `steps` are the same text as before there were any."""
        return {key: value for key, value in dump(self).items() if value is not None}


class StopWhen(Section):
    """When a training counts as collapsed and ends early; its policy is exported and evaluated all the same."""

    validation_below_best: OpenShare | None = Field(
        None,
        description="end when the validation reward is more than this below the best so far, `for_validations` times "
        "in a row; 0.1 is ten points; null: never",
    )
    for_validations: Count = Field(2, description="validations in a row that must be that low")
    kl_per_sequence: Positive | None = Field(
        None,
        description="end when the metric `kl_per_sequence` of a step is above this; single steps can be far above the "
        "mean, so set it well above what a sound training reaches; null: never",
    )


class Pipeline(Section):
    """Draw the next rollout while this step updates the policy."""

    lag: Annotated[int, Field(ge=1, le=1)] = Field(
        1,
        description="updates by which the policy that draws is behind the one that learns, from the second step on. "
        "A second process draws: on GPUs it has a card of its own, on a CPU its own `torch_threads`",
    )
    importance_cap: Positive | None = Field(
        None,
        description="weigh each response by its probability under the policy that learns over that under the one that "
        "drew it, at most this; null: all weigh 1. For `a_star_po` and `reinforce`",
    )


class TrainingKeys(Section):
    """Keys of a run of any method."""

    steps: Count = Field(description="number of rollout batches")
    max_generated_tokens: Count | None = Field(
        None,
        description="end after this many generated tokens, or after `steps`, whichever comes first; "
        "`lr_schedule` then follows the share of these tokens that is left",
    )
    prompts_per_batch: Count = Field(256, description="prompts in a rollout batch; at most the number in the data set")
    responses_per_prompt: Count = Field(1, description="responses sampled per prompt")
    updates_per_rollout: Count = Field(1, description="optimizer steps per rollout batch, each on an equal share of it")
    lr: LearningRate = Field(1.0e-6, description="peak learning rate")
    lr_schedule: Schedule = Field("constant", description="shape of the learning rate after the warm-up")
    lr_warmup_steps: int = Field(
        0,
        ge=0,
        description="optimizer steps of linear warm-up; at most `steps` times `updates_per_rollout`",
    )
    adam_betas: AdamBetas = Field((0.9, 0.999), description="AdamW's betas")
    adam_eps: AdamEpsilon = Field(1.0e-8, description="AdamW's epsilon")
    weight_decay: NotNegative = Field(
        0.01, description="AdamW's weight decay; times each learning rate it must be below 1"
    )
    max_grad_norm: Positive = Field(1.0, description="gradients are clipped to this norm; 1e9 disables clipping")
    grad_norm_of: Literal["policy_gradient", "loss"] = Field(
        "policy_gradient",
        description="the norm that `max_grad_norm` limits and that the metric `grad_norm` reports: of the loss's "
        "gradient, as in the released code, or of that divided by the factor by which the method's loss exceeds the "
        "policy gradient (2 beta2 for A\\*-PO), so that one limit means the same for all methods",
    )
    entropy_coefficient: NotNegative = Field(0.0, description="entropy bonus; 0 in the paper, 1e-3 in its code")
    validate_every: Count = Field(25, description="steps between validation runs")
    kept_rollouts: int = Field(
        8,
        ge=0,
        description="validation prompts, from the first on, whose responses are kept in `rollouts.parquet` each time, "
        "to be read; 0: none",
    )
    keep: Keep | None = Field(None, description="which weights to export; null: the last")
    stop_when: StopWhen | None = Field(None, description="end a training that has collapsed; null: never")
    pipeline: Pipeline | None = Field(
        None, description="draw the next rollout while this step updates the policy; null: one after the other"
    )
    lora: Lora | None = Field(None, description="train adapters only; null: all weights")
    engine: Literal["torch", "deepspeed"] = Field(
        "torch",
        description="`torch` trains on one device, `deepspeed` on those of `machine`",
    )
    torch_threads: Count = Field(1, description="CPU threads; can change the last bits of a result")
    compile_model: bool | Literal["auto"] = Field(
        "auto",
        description="compile forward and backward passes: takes a minute, then steps are faster; needs "
        "`engine: torch`, and neither lora nor activation_checkpointing. auto: on a GPU with a C compiler, from 50 "
        "steps on, unless that would give up packed rows or prompts that are read once; never on a CPU",
    )
    max_sampler_gap: Positive | None = Field(
        0.1,
        description="stop the training if log-probabilities of sampler and trainer differ by more nats per token "
        "on average, or by much more than in the first rollout, which shows the rounding errors; null: never",
    )
    log_prob_chunk_tokens: Count | None = Field(
        512,
        description="response tokens whose logits exist at the same time, if a micro-batch's take more than 64 MiB; "
        "null: all",
    )

    def kept_steps(self) -> tuple[int, ...]:
        """The steps whose weights are exported besides."""
        return (self.keep.steps if self.keep is not None else None) or ()

    def needs_validation(self) -> list[str]:
        """Name the settings that need validation prompts."""
        below = self.stop_when is not None and self.stop_when.validation_below_best is not None
        best = self.keep is not None and self.keep.best is not None
        return [*(["keep.best"] if best else []), *(["stop_when.validation_below_best"] if below else [])]


class TrainSettings(TrainingKeys, PolicySettings):
    """Settings of `train_policy`: everything except the seed that affects the run's numbers.

    ``hyperparameters`` are the method's settings, already checked as part of the run's entry.
    ``estimate`` is how V* is re-estimated during training (``value_update: running``), else null.
    """

    method: Text
    hyperparameters: dict[str, Hyperparameter]
    estimate: EstimateSettings | None = None
    sampling: SamplingSettings
    prompting: PromptSettings
    grading: GradingSettings

    @field_validator("hyperparameters")
    @classmethod
    def _no_division_by_zero(cls, settings: dict[str, Hyperparameter]) -> dict[str, Hyperparameter]:
        """As the configuration checks it; settings of another origin must not lead to 0/0 either."""
        if settings.get("scale_by_std") and float(settings.get("std_epsilon", 1.0)) < LEAST_DIVISOR:
            raise PydanticCustomError(
                "divisor",
                "std_epsilon must be at least {least} with scale_by_std: a group of equal rewards has no deviation",
                {"least": LEAST_DIVISOR},
            )
        return settings
