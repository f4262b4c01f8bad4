"""Rollouts one step off: the next one is drawn in a second process while this step updates the policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grader
from astarpo.sampling import Completion
from astarpo.sampling.second_process import Begun, SamplerProcess
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.rollouts import Ungraded, grade_later, requests_for


@dataclass
class Pending:
    """A rollout that is being drawn and graded.

    Attributes:
        step: whose rollout it is.
        prompts: of that step.
        responses_per_prompt: number of responses per prompt.
        grading: has the grades, later.
        drawn: its responses, or those that a checkpoint had.
    """

    step: int
    prompts: Sequence[TrainingPrompt]
    responses_per_prompt: int
    grading: GradingAhead
    drawn: Begun | list[Completion]

    def completions(self) -> list[Completion]:
        """Wait for all responses."""
        return self.drawn if isinstance(self.drawn, list) else self.drawn.result()

    def ungraded(self) -> Ungraded:
        """Wait for all responses, and assign them to their prompts."""
        return Ungraded.of(self.prompts, self.responses_per_prompt, self.completions())


class RolloutsAhead:
    """Begins each rollout before the update of the step before it, so its policy is one update old when it is used.

    Args:
        sampler: in its own process, with copies of the policy's weights.
        grader: of the training.
        sampling: settings of every response.
        responses_per_prompt: number of responses per prompt.
        seed: of the run.
    """

    def __init__(
        self,
        sampler: SamplerProcess,
        grader: Grader,
        sampling: SamplingSettings,
        responses_per_prompt: int,
        seed: int,
    ) -> None:
        self.sampler, self.grader, self.sampling = sampler, grader, sampling
        self.size, self.seed = responses_per_prompt, seed
        self._pending: Pending | None = None

    def begin(self, step: int, prompts: Sequence[TrainingPrompt]) -> None:
        """Begin the rollout of a step with the policy's current weights."""
        grading = GradingAhead(self.grader)
        requests = requests_for(prompts, self.size, (self.seed, "train", step))
        begun = self.sampler.begin(requests, self.sampling, grade_later(grading, prompts, self.size))
        self._pending = Pending(step, prompts, self.size, grading, begun)

    def take(self, step: int, prompts: Sequence[TrainingPrompt]) -> Pending:
        """Return the rollout of a step, which is begun now if it was not before; only the first step's is not."""
        if self._pending is None:
            self.begin(step, prompts)
        pending, self._pending = self._pending, None
        assert pending is not None and pending.step == step
        return pending

    def state(self) -> str:
        """Wait for the rollout that is being drawn, and return it as JSON, for a resumed training to have the same."""
        if self._pending is None:
            return ""
        return json.dumps([asdict(one) for one in self._pending.completions()])

    def load_state(self, state: str, step: int, prompts: Sequence[TrainingPrompt]) -> None:
        """Restore the rollout of a step; it is graded again."""
        if not state:
            return
        completions = [Completion(**one) for one in json.loads(state)]
        grading = GradingAhead(self.grader)
        grade_later(grading, prompts, self.size)(range(len(completions)), completions)
        self._pending = Pending(step, prompts, self.size, grading, completions)
