"""The configuration as types, second part: runs, what all have and what each method adds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from astarpo.config.kinds import (
    AdamBetas,
    AdamEpsilon,
    BelowOne,
    Beta1,
    Count,
    LayerNames,
    LearningRate,
    Name,
    NotNegative,
    Positive,
    Schedule,
    Seeds,
    Share,
    SomeNames,
)
from astarpo.config.schema import Section


class Lora(Section):
    """Train adapters beside the weights, which stay the reference's."""

    rank: Count = Field(16, description="columns of the matrices")
    alpha: Positive = Field(32.0, description="their product counts alpha / rank times")
    targets: LayerNames = Field("all-linear", description="which layers, by the last part of their names, at least one")


class Run(Section):
    """What every training has; each method adds its own keys."""

    reference: Name = Field(description="where training starts, and what it is held to")
    dataset: Name = Field(description="prompts to train on")
    selection: Name | None = Field(None, description="train on the prompts that this selection keeps; null: all")
    validation: Name | None = Field(None, description="a data set to look at while training")
    max_prompt_tokens: Count | None = Field(
        None,
        description="longer prompts are not trained on; null: the reference's limit, which it must not exceed",
    )
    benchmarks: SomeNames | None = Field(None, description="what to evaluate on; null: every benchmark")
    seeds: Seeds = Field((0, 1, 2), description="one training each; different numbers")
    steps: Count = Field(description="rollout batches")
    max_generated_tokens: Count | None = Field(
        None,
        description="end with the rollout batch that reaches so many tokens of responses, after `steps` at the latest; "
        "`lr_schedule` then follows the share of these that is left",
    )
    prompts_per_batch: Count = Field(256, description="prompts in a rollout batch; no more than the data set can have")
    responses_per_prompt: Count = Field(1, description="responses drawn for each of them")
    updates_per_rollout: Count = Field(1, description="optimizer steps on a rollout batch, each on its share")
    lr: LearningRate = Field(1.0e-6, description="highest learning rate")
    lr_schedule: Schedule = Field("constant", description="how it goes on after the warm-up")
    lr_warmup_steps: int = Field(
        0,
        ge=0,
        description="optimizer steps of linear rise, at most `steps` times `updates_per_rollout`",
    )
    adam_betas: AdamBetas = Field((0.9, 0.999), description="of AdamW")
    adam_eps: AdamEpsilon = Field(1.0e-8, description="of AdamW")
    weight_decay: NotNegative = Field(0.01, description="of AdamW; its product with each learning rate must be below 1")
    max_grad_norm: Positive = Field(1.0, description="gradients are clipped to this norm; 1e9 never clips")
    entropy_coefficient: NotNegative = Field(0.0, description="entropy bonus; 0 in the paper, 1e-3 in its code")
    validate_every: Count = Field(25, description="steps between looks at the validation prompts")
    lora: Lora | None = Field(None, description="train adapters alone; null: all weights")
    engine: Literal["torch", "deepspeed"] = Field(
        "torch",
        description="what holds the weights: `torch` one device, `deepspeed` as many as `machine` says",
    )
    torch_threads: Count = Field(1, description="CPU threads; they can change last bits")
    compile_model: bool = Field(
        False,
        description="compile forward and backward passes: a minute at the start, then faster; needs engine torch",
    )
    max_sampler_gap: Positive | None = Field(
        0.05,
        description="the training stops where log-probabilities of sampler and trainer differ by more nats a token "
        "on average; null: never",
    )
    log_prob_chunk_tokens: Count | None = Field(
        512,
        description="response tokens whose logits exist at a time, where those of a micro-batch take more than "
        "64 MiB; null: all",
    )


class AStarPORun(Run):
    """A*-PO: regress beta2 ln(pi/pi_ref) onto r - V*."""

    method: Literal["a_star_po"]
    value: Name = Field(description="the estimate of V*")
    beta2: Positive = Field(1.0e-3, description="strength of the pull towards the reference")
    value_update: Literal["none", "running"] = Field(
        "none", description="`running`: online successes take the place of stage 1's one by one"
    )


class GRPORun(Run):
    """GRPO: the group's mean as baseline, a clipped ratio, a KL term; flags for Dr. GRPO and DAPO."""

    method: Literal["grpo"]
    responses_per_prompt: Count = Field(8, description="the size of a group")
    clip: Positive = Field(0.2, description="how far the ratio may fall below 1")
    clip_high: Positive = Field(0.2, description="how far it may rise above 1; DAPO: 0.28")
    kl_coefficient: NotNegative = Field(1.0e-3, description="weight of the KL term (k3)")
    scale_by_std: bool = Field(True, description="divide advantages by the group's deviation; Dr. GRPO: false")
    std_epsilon: NotNegative = Field(1.0e-6, description="added to that deviation; at least 1e-30 where it divides")
    average: Literal["sequences", "tokens", "constant"] = Field(
        "sequences",
        description="mean over tokens, then sequences; DAPO: `tokens`; Dr. GRPO: `constant`, by max_new_tokens",
    )


class PPORun(Run):
    """PPO: a critic that starts from the base model, GAE, clipped policy and value losses, KL in the reward."""

    method: Literal["ppo"]
    critic_lr: LearningRate = Field(1.0e-5, description="highest learning rate of the critic")
    clip: Positive = Field(0.2, description="how far the ratio may move from 1")
    value_clip: Positive = Field(0.5, description="how far a value may move in an update; 1e9 never clips")
    gamma: Share = Field(1.0, description="discount")
    gae_lambda: Share = Field(1.0, description="lambda of GAE")
    kl_coefficient: NotNegative = Field(1.0e-3, description="weight of the KL penalty in the reward")


class REBELRun(Run):
    """REBEL: regress differences of log-ratios of pairs onto differences of their rewards."""

    method: Literal["rebel"]
    responses_per_prompt: Count = Field(2, description="a pair")
    eta: Positive = Field(1.0, description="how strongly rewards move the policy from the iterate")


class ReinforceRun(Run):
    """REINFORCE on the KL-penalised reward: a control for what V* and the squared loss add."""

    method: Literal["reinforce"]
    baseline: Literal["v_star", "zero", "batch_mean", "running_mean", "leave_one_out"] = Field(
        description="what is subtracted from the reward"
    )
    value: Name | None = Field(None, description="the estimate of V*, for baseline `v_star` alone")
    beta2: NotNegative = Field(1.0e-3, description="strength of the pull towards the reference")
    kl_in_reward: bool = Field(True, description="false: without that pull")
    baseline_decay: BelowOne = Field(0.9, description="what a `running_mean` keeps at each step")


class OAPLRun(Run):
    """OAPL: samples, anchor and V* all from the policy of the last synchronisation."""

    method: Literal["oapl"]
    responses_per_prompt: Count = Field(8, description="the group that V* is estimated from")
    beta1: Beta1 = Field(1.0, description="temperature of that estimate")
    beta2: Positive = Field(1.0e-3, description="strength of the pull towards the lagged policy")
    sync_every: Count = Field(50, description="steps between synchronisations")


METHOD_RUNS: dict[str, type[Run]] = {
    "a_star_po": AStarPORun,
    "grpo": GRPORun,
    "oapl": OAPLRun,
    "ppo": PPORun,
    "rebel": REBELRun,
    "reinforce": ReinforceRun,
}
RunEntry = Annotated[AStarPORun | GRPORun | PPORun | REBELRun | ReinforceRun | OAPLRun, Field(discriminator="method")]
HYPERPARAMETERS: dict[str, tuple[str, ...]] = {
    name: tuple(key for key in kind.model_fields if key not in Run.model_fields and key not in ("method", "value"))
    for name, kind in METHOD_RUNS.items()
}
