"""The adaptive scale kappa of V*, estimated from earlier rollouts; see `objectives.value_scale`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from astarpo.objectives.method import Hyperparameter
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.states import ValueScaleState


class ValueScale:
    """The scale for the next rollout.

    An adaptive one is kappa = sum w r / sum w V* over earlier rollouts, with weights that decay; a rollout never sees
    its own rewards, which would bias its gradient. Before the first rollout, the sums are those of stage 1's samples.

    Args:
        hyperparameters: of the method, with those of `objectives.value_scale.ValueScaleSettings`.
        prompts: all training prompts of the run, with the surprisals of their samples in stage 1.
    """

    def __init__(self, hyperparameters: Mapping[str, Hyperparameter], prompts: Sequence[TrainingPrompt]) -> None:
        scale = hyperparameters.get("value_scale", 1.0)
        self.adaptive = scale == "adaptive"
        self.fixed = 1.0 if isinstance(scale, str) else float(scale)
        self.decay = float(hyperparameters.get("value_scale_decay", 0.0))
        self.exact = hyperparameters.get("score_norm") == "exact"
        self.measured = int(hyperparameters.get("score_norm_responses", 0))
        self.rollouts = 0
        sums = _stage_one_sums(prompts) if self.adaptive else (0.0, 0.0, 0.0)
        self.weighted_reward, self.weighted_value, self.stage_one_surprisal = sums
        if self.adaptive and not self.weighted_value:
            reason = (
                "every V* is 0" if not any(prompt.v_star for prompt in prompts) else "samples have no log-probabilities"
            )
            print(f"value_scale: adaptive starts at 1, because {reason}", flush=True)

    @property
    def factor(self) -> float:
        """kappa; 1 as long as nothing is known or every V* seen is 0."""
        if not self.adaptive:
            return self.fixed
        return self.weighted_reward / self.weighted_value if self.weighted_value else 1.0

    def learn(self, weights: Sequence[float], rewards: Sequence[float], v_star: Sequence[float]) -> None:
        """Add a rollout, after its updates.

        Args:
            weights: w of each measured response: its surprisal -ln pi(y|x), or |grad ln pi(y|x)|^2.
            rewards, v_star: of the same responses; V* without the scale.
        """
        if not self.adaptive or not weights:
            return
        reward = sum(w * r for w, r in zip(weights, rewards, strict=True)) / len(weights)
        value = sum(w * v for w, v in zip(weights, v_star, strict=True)) / len(weights)
        if self.exact and self.rollouts == 0 and self.stage_one_surprisal:
            # The weights of stage 1 are surprisals; they get the mean of the first squared norms.
            in_norms = sum(weights) / len(weights) / self.stage_one_surprisal
            self.weighted_reward, self.weighted_value = in_norms * self.weighted_reward, in_norms * self.weighted_value
        self.weighted_reward = self.decay * self.weighted_reward + (1.0 - self.decay) * reward
        self.weighted_value = self.decay * self.weighted_value + (1.0 - self.decay) * value
        self.rollouts += 1

    def state(self) -> ValueScaleState:
        """Return the state for a checkpoint."""
        return {
            "weighted_reward": self.weighted_reward,
            "weighted_value": self.weighted_value,
            "rollouts": self.rollouts,
        }

    def load_state(self, state: ValueScaleState) -> None:
        """Restore the state from a checkpoint."""
        self.weighted_reward, self.weighted_value = state["weighted_reward"], state["weighted_value"]
        self.rollouts = state["rollouts"]


def _stage_one_sums(prompts: Sequence[TrainingPrompt]) -> tuple[float, float, float]:
    """Mean w r, w V* and w of the samples of stage 1, or zeros if their log-probabilities are not known."""
    n = sum(prompt.n or 0 for prompt in prompts)
    known = [prompt for prompt in prompts if prompt.surprisal_sum is not None]
    if not n or len(known) < len(prompts):
        return 0.0, 0.0, 0.0
    surprisal = sum(prompt.surprisal_sum or 0.0 for prompt in known)
    reward = sum(prompt.surprisal_of_correct or 0.0 for prompt in known)
    value = sum((prompt.surprisal_sum or 0.0) * (prompt.v_star or 0.0) for prompt in known)
    return reward / n, value / n, surprisal / n


def surprisal_ratio(surprisals: Sequence[float], rewards: Sequence[float]) -> float | None:
    """Mean surprisal of wrong responses divided by that of correct ones; None if either are missing.

    A fractional reward counts as that share of a correct response.
    """
    correct, wrong = sum(rewards), sum(1.0 - reward for reward in rewards)
    if correct <= 0 or wrong <= 0:
        return None
    of_correct = sum(s * r for s, r in zip(surprisals, rewards, strict=True)) / correct
    of_wrong = sum(s * (1.0 - r) for s, r in zip(surprisals, rewards, strict=True)) / wrong
    return of_wrong / of_correct if of_correct else None
