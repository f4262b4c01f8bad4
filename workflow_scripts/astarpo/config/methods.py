"""The configuration as types, second part: runs, what all have and what each method adds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from astarpo.common.kinds import Count, Name, Seeds, SomeNames
from astarpo.common.settings import Section
from astarpo.objectives import a_star_po, grpo, oapl, ppo, rebel, reinforce
from astarpo.training.settings import TrainingKeys


class RunInputs(Section):
    """What a run is made from, and what it is evaluated on."""

    reference: Name = Field(description="where training starts, and what it is held to")
    dataset: Name = Field(description="prompts to train on")
    selection: Name | None = Field(None, description="train on the prompts that this selection keeps; null: all")
    validation: Name | None = Field(None, description="data set for validation during training")
    max_prompt_tokens: Count | None = Field(
        None,
        description="longer prompts are not trained on; null: the reference's limit, which it must not exceed",
    )
    benchmarks: SomeNames | None = Field(None, description="benchmarks to evaluate on; null: all")
    seeds: Seeds = Field((0, 1, 2), description="one training for each seed; all different")


class Run(TrainingKeys, RunInputs):
    """What every training has; each method adds its own keys."""

    method_settings: ClassVar[type[Section]]

    def hyperparameters(self) -> dict[str, Any]:
        """The method's settings, by name."""
        return self.only(self.method_settings)

    def estimate_name(self) -> str | None:
        """The entry of `values` that the run uses; None where its method needs no V*."""
        return None

    def updates_estimate(self) -> bool:
        """Whether V* is estimated again while the run trains."""
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
        """Whether V* is estimated again while the run trains."""
        return self.value_update == "running"


class GRPORun(grpo.GRPOSettings, Run):
    """GRPO: the group's mean as baseline, a clipped ratio, a KL term; flags for Dr. GRPO and DAPO."""

    method_settings = grpo.GRPOSettings
    method: Literal["grpo"]
    responses_per_prompt: Count = Field(8, description="the size of a group")


class PPORun(ppo.PPOSettings, Run):
    """PPO: a critic that starts from the base model, GAE, clipped policy and value losses, KL in the reward."""

    method_settings = ppo.PPOSettings
    method: Literal["ppo"]


class REBELRun(rebel.REBELSettings, Run):
    """REBEL: regress differences of log-ratios of pairs onto differences of their rewards."""

    method_settings = rebel.REBELSettings
    method: Literal["rebel"]
    responses_per_prompt: Count = Field(2, description="a pair")


class ReinforceRun(reinforce.ReinforceSettings, Run):
    """REINFORCE on the KL-penalised reward: a control for what V* and the squared loss add."""

    method_settings = reinforce.ReinforceSettings
    method: Literal["reinforce"]
    value: Name | None = Field(None, description="the estimate of V*, for baseline `v_star` alone")

    def estimate_name(self) -> str | None:
        """The entry of `values` that the run uses; None for the other baselines."""
        return self.value


class OAPLRun(oapl.OAPLSettings, Run):
    """OAPL: samples, anchor and V* all from the policy of the last synchronisation."""

    method_settings = oapl.OAPLSettings
    method: Literal["oapl"]
    responses_per_prompt: Count = Field(8, description="the group that V* is estimated from")


METHOD_RUNS: dict[str, type[Run]] = {
    "a_star_po": AStarPORun,
    "grpo": GRPORun,
    "oapl": OAPLRun,
    "ppo": PPORun,
    "rebel": REBELRun,
    "reinforce": ReinforceRun,
}
RunEntry = Annotated[AStarPORun | GRPORun | PPORun | REBELRun | ReinforceRun | OAPLRun, Field(discriminator="method")]
