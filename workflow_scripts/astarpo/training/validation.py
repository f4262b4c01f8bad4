"""Validation during training: the reward on prompts that are not trained on, and the first responses, to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grader
from astarpo.sampling import Sampler
from astarpo.training.engine import TorchEngine
from astarpo.training.history import KeptRollout
from astarpo.training.phases import PhaseClock
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollouts import Responses, draw_responses
from astarpo.training.settings import TrainSettings


@dataclass(frozen=True)
class Validated:
    """The mean reward, None without validation prompts, and the responses to the first prompts."""

    reward: float | None = None
    rollouts: Sequence[KeptRollout] = ()


class Validation:
    """The validation prompts of a run, which are sampled with the same seeds each time.

    Args:
        prompts: may be empty.
        engine, grader: of the training.
        settings: of the run.
        seed: of the run.
    """

    def __init__(
        self,
        prompts: Sequence[TrainingPrompt],
        engine: TorchEngine,
        grader: Grader,
        settings: TrainSettings,
        seed: int,
    ) -> None:
        self.prompts, self.engine, self.grader = prompts, engine, grader
        self.settings, self.seed = settings, seed

    def run(self, step: int, sampler: Sampler, clock: PhaseClock) -> Validated:
        """Sample and grade one response to each prompt; every process returns the same.

        Args:
            step: the last step; 0 before training.
            sampler: samples from the policy's current weights.
            clock: for the phase ``validate``.
        """
        if not self.prompts:
            return Validated()
        world = self.engine.world
        # Rollouts may come from a lagged policy, but validation uses the newest one.
        sampler.weights_changed()
        with clock.phase("validate"):
            with GradingAhead(self.grader) as grading:
                asked = world.share(self.prompts)
                ungraded = draw_responses(sampler, asked, 1, self.settings.sampling, grading, (self.seed, "validate"))
                drawn = ungraded.graded(grading.grades())
            rewards = world.interleave([graded.reward or 0.0 for graded in drawn.grades])
            # Of the first prompts, this process has answered its share.
            count = len(world.share(self.prompts[: self.settings.kept_rollouts]))
            kept = world.interleave([_kept(step, drawn, row) for row in range(count)])
        return Validated(sum(rewards) / len(rewards), kept)


def _kept(step: int, drawn: Responses, row: int) -> KeptRollout:
    prompt, completion, graded = drawn.prompts[row], drawn.completions[row], drawn.grades[row]
    return {
        "step": step,
        "prompt_id": prompt.prompt_id,
        "prompt": prompt.text,
        "gold": prompt.gold,
        "response": completion.text,
        "finish_reason": completion.finish_reason,
        "n_tokens": len(completion.token_ids),
        "reward": graded.reward,
        "status": graded.status,
    }
