"""State that some methods keep across rollouts: a mean of rewards, success counts for V*, and the scale of V*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from astarpo.objectives.method import Hyperparameter
from astarpo.stage_one.settings import EstimateSettings
from astarpo.stage_one.values import ESTIMATORS
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.states import StatisticsState
from astarpo.training.value_scale import ValueScale


class RunningStatistics:
    """Statistics of earlier rollouts; a rollout never sees its own rewards.

    Args:
        prompts: all training prompts of the run.
        hyperparameters: of the method. ``baseline_decay`` is the factor by which the running mean's weight decays
            with each rollout.
        estimate: how V* is re-estimated; None if stage 1's values are kept. Each online response replaces an
            average one of stage 1's N responses: c <- c + r - c/N. So N stays the same, and with it the meaning of
            the estimate.
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
        self.value_scale = ValueScale(hyperparameters, prompts)
        self.successes: dict[str, float] = {}
        if estimate is not None:
            self.successes = {p.prompt_id: float(p.n_correct or 0) for p in prompts}

    @property
    def running_mean(self) -> float:
        """Mean reward of the rollouts so far, with less weight on older ones; 0 before the first."""
        return self.reward_sum / self.reward_weight if self.reward_weight else 0.0

    def v_star(self, prompt: TrainingPrompt) -> float | None:
        """Return the current V* of a prompt, or None if it has none."""
        if prompt.prompt_id not in self.successes:
            return prompt.v_star
        assert prompt.n, f"every prompt with a value has graded responses in stage 1: {prompt}"
        correct, n = np.array([self.successes[prompt.prompt_id]]), np.array([prompt.n])
        assert self.estimate is not None, "counts are kept only if V* is re-estimated"
        return float(ESTIMATORS[self.estimate.estimator](correct, n, self.estimate.beta1)[0])

    def learn(self, prompts: Sequence[TrainingPrompt], rewards: Sequence[float], weights: Sequence[float] = ()) -> None:
        """Add the rewards of a rollout, after its updates.

        Args:
            prompts, rewards: of its responses, without null grades.
            weights: of the first of them, for the scale of V*, see `ValueScale.learn`.
        """
        measured = len(weights)
        v_star = [self.v_star(prompt) or 0.0 for prompt in prompts[:measured]]
        self.value_scale.learn(weights, rewards[:measured], v_star)
        mean = sum(rewards) / len(rewards)
        self.reward_sum = self.decay * self.reward_sum + (1.0 - self.decay) * mean
        self.reward_weight = self.decay * self.reward_weight + (1.0 - self.decay)
        for prompt, reward in zip(prompts, rewards, strict=True):
            if prompt.prompt_id in self.successes and prompt.n:
                count = self.successes[prompt.prompt_id]
                # Rounding may raise the count slightly above N, where estimates are undefined.
                self.successes[prompt.prompt_id] = min(count + reward - count / prompt.n, prompt.n)

    def state(self) -> StatisticsState:
        """Return the state for a checkpoint."""
        return {
            "reward_sum": self.reward_sum,
            "reward_weight": self.reward_weight,
            "successes": dict(self.successes),
            "value_scale": self.value_scale.state(),
        }

    def load_state(self, state: StatisticsState) -> None:
        """Restore the state from a checkpoint."""
        self.reward_sum, self.reward_weight = state["reward_sum"], state["reward_weight"]
        self.successes = dict(state["successes"])
        self.value_scale.load_state(state["value_scale"])
