"""The types of the configuration, part two: runs, with common keys and those of each method."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from astarpo.common.kinds import Count, Name, Seeds, SomeNames
from astarpo.common.settings import Section
from astarpo.objectives import a_star_po, grpo, oapl, ppo, rebel, reinforce
from astarpo.training.settings import TrainingKeys


class RunInputs(Section):
    """A run's inputs, and its benchmarks."""

    reference: Name = Field(description="policy that training starts from and is regularised towards")
    dataset: Name = Field(description="prompts to train on")
    selection: Name | None = Field(None, description="train only on the prompts of this selection; null: all")
    validation: Name | None = Field(None, description="data set for validation during training")
    max_prompt_tokens: Count | None = Field(
        None,
        description="skip longer prompts; at most the reference's limit, which is the default (null)",
    )
    benchmarks: SomeNames | None = Field(None, description="benchmarks to evaluate on; null: all")
    seeds: Seeds = Field((0, 1, 2), description="one training per seed; all different")


class Run(TrainingKeys, RunInputs):
    """Keys of every run; each method adds its own."""

    method_settings: ClassVar[type[Section]]

    def hyperparameters(self) -> dict[str, Any]:
        """The method's settings, by name."""
        return self.only(self.method_settings)

    def estimate_name(self) -> str | None:
        """The entry of `values` that the run uses; None if its method needs no V*."""
        return None

    def updates_estimate(self) -> bool:
        """Whether V* is re-estimated during training."""
        return False


class AStarPORun(a_star_po.AStarPOSettings, Run):
    """A*-PO: regress beta2 ln(pi/pi_ref) onto r - V*."""

    method_settings = a_star_po.AStarPOSettings
    method: Literal["a_star_po"]
    value: Name = Field(description="the estimate of V*")

    def estimate_name(self) -> str | None:
        """The entry of `values` that the run uses."""
        return self.value

    def updates_estimate(self) -> bool:
        """Whether V* is re-estimated during training."""
        return self.value_update == "running"


class GRPORun(grpo.GRPOSettings, Run):
    """GRPO: the group's mean as baseline, a clipped ratio, KL; flags for Dr. GRPO and two of DAPO's four parts."""

    method_settings = grpo.GRPOSettings
    method: Literal["grpo"]
    responses_per_prompt: Count = Field(8, description="size of a group")


class PPORun(ppo.PPOSettings, Run):
    """PPO: a critic that starts from the base model, GAE, clipped policy and value losses, KL in the reward."""

    method_settings = ppo.PPOSettings
    method: Literal["ppo"]


class REBELRun(rebel.REBELSettings, Run):
    """REBEL: regress pairwise differences of log-ratios onto differences of rewards."""

    method_settings = rebel.REBELSettings
    method: Literal["rebel"]
    responses_per_prompt: Count = Field(2, description="must be 2, a pair")


class ReinforceRun(reinforce.ReinforceSettings, Run):
    """REINFORCE on the KL-penalised reward: a control for the effect of V* and of the squared loss."""

    method_settings = reinforce.ReinforceSettings
    method: Literal["reinforce"]
    value: Name | None = Field(None, description="the estimate of V*; only for baseline `v_star`")

    def estimate_name(self) -> str | None:
        """The entry of `values` that the run uses; None for the other baselines."""
        return self.value


class OAPLRun(oapl.OAPLSettings, Run):
    """OAPL: samples, anchor and V* come from the policy of the last synchronisation."""

    method_settings = oapl.OAPLSettings
    method: Literal["oapl"]
    responses_per_prompt: Count = Field(8, description="size of the group from which V* is estimated")


METHOD_RUNS: dict[str, type[Run]] = {
    "a_star_po": AStarPORun,
    "grpo": GRPORun,
    "oapl": OAPLRun,
    "ppo": PPORun,
    "rebel": REBELRun,
    "reinforce": ReinforceRun,
}
RunEntry = Annotated[AStarPORun | GRPORun | PPORun | REBELRun | ReinforceRun | OAPLRun, Field(discriminator="method")]
