"""Numbers that some methods carry from rollout to rollout: a running mean of the rewards, counts behind V*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from astarpo.objectives.method import Hyperparameter
from astarpo.stage_one.settings import EstimateSettings
from astarpo.stage_one.values import ESTIMATORS
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.states import StatisticsState


class RunningStatistics:
    """What was seen so far; a rollout gets what the rollouts before it gave, never its own rewards.

    Args:
        prompts: all that the run trains on.
        hyperparameters: of the method. ``baseline_decay`` is the weight that a rollout keeps in the running mean
            when the next comes.
        estimate: how V* is estimated again, None where it stays as stage 1 left it. It is estimated from the
            N responses of stage 1, each online response taking the place of an average one among them:
            c <- c + r - c/N. So N, and with it the meaning of the estimate, stays what it was.
    """

    def __init__(
        self,
        prompts: Sequence[TrainingPrompt],
        hyperparameters: Mapping[str, Hyperparameter],
        estimate: EstimateSettings | None = None,
    ) -> None:
        self.decay = float(hyperparameters.get("baseline_decay", 0.0))
        self.estimate = estimate
        self.reward_sum = self.reward_weight = 0.0
        self.successes: dict[str, float] = {}
        if estimate is not None:
            self.successes = {p.prompt_id: float(p.n_correct or 0) for p in prompts}

    @property
    def running_mean(self) -> float:
        """Mean reward of the rollouts so far, older ones counting less; 0 before the first."""
        return self.reward_sum / self.reward_weight if self.reward_weight else 0.0

    def v_star(self, prompt: TrainingPrompt) -> float | None:
        """V* of a prompt as known now; None where there is none."""
        if prompt.prompt_id not in self.successes:
            return prompt.v_star
        assert prompt.n, f"stage 1 has a graded response of every prompt with a value: {prompt}"
        correct, n = np.array([self.successes[prompt.prompt_id]]), np.array([prompt.n])
        assert self.estimate is not None, "counts are kept only where V* is estimated from them"
        return float(ESTIMATORS[self.estimate.estimator](correct, n, self.estimate.beta1)[0])

    def learn(self, prompts: Sequence[TrainingPrompt], rewards: Sequence[float]) -> None:
        """Take in the rewards of a rollout, after it was trained on.

        Args:
            prompts, rewards: of its responses; null grades are left out.
        """
        mean = sum(rewards) / len(rewards)
        self.reward_sum = self.decay * self.reward_sum + (1.0 - self.decay) * mean
        self.reward_weight = self.decay * self.reward_weight + (1.0 - self.decay)
        for prompt, reward in zip(prompts, rewards, strict=True):
            if prompt.prompt_id in self.successes and prompt.n:
                known = self.successes[prompt.prompt_id]
                # Rounding may carry the count a last bit beyond N, where estimates are not defined.
                self.successes[prompt.prompt_id] = min(known + reward - known / prompt.n, prompt.n)

    def state(self) -> StatisticsState:
        """Everything, for a checkpoint."""
        return {
            "reward_sum": self.reward_sum,
            "reward_weight": self.reward_weight,
            "successes": dict(self.successes),
        }

    def load_state(self, state: StatisticsState) -> None:
        """Take up the state of a checkpoint."""
        self.reward_sum, self.reward_weight = state["reward_sum"], state["reward_weight"]
        self.successes = dict(state["successes"])
