"""A rollout batch: sampled responses, their grades, and the rows to train on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.common.seeds import derive_seed
from astarpo.model.world import Item, World
from astarpo.rewards.ahead import GradingAhead
from astarpo.rewards.grading import Grade
from astarpo.rewards.verdicts import Response
from astarpo.rewards.worker import Question
from astarpo.sampling import Completion, OnFinished, Request, Sampler
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.prompts import TrainingPrompt


@dataclass(frozen=True)
class Ungraded:
    """Responses to prompts, before they are graded; each ``responses_per_prompt`` consecutive ones share a prompt."""

    prompts: list[TrainingPrompt]
    group_ids: list[int]
    completions: list[Completion]

    @classmethod
    def of(
        cls, prompts: Sequence[TrainingPrompt], responses_per_prompt: int, completions: list[Completion]
    ) -> Ungraded:
        """Assign completions to prompts, in whose order they are."""
        repeated = [prompt for prompt in prompts for _ in range(responses_per_prompt)]
        return Ungraded(repeated, [index // responses_per_prompt for index in range(len(repeated))], completions)

    def of_all(self, world: World, prompts: Sequence[TrainingPrompt], responses_per_prompt: int) -> Ungraded:
        """Return the responses of all processes in the order of the prompts, as if one process had sampled them.

        Args:
            world: the processes, each of which sampled for its share of the prompts.
            prompts: of the whole batch.
            responses_per_prompt: number of responses per prompt.
        """
        completions = rows_of_all(world, self.completions, responses_per_prompt)
        return Ungraded.of(prompts, responses_per_prompt, completions)

    def surprisals(self, rows: Sequence[int]) -> list[float]:
        """Return -ln pi(y|x) of the rows under the distribution they were drawn from, in nats."""
        return [-self.completions[row].logprob_sum for row in rows]

    def graded(self, grades: list[Grade]) -> Responses:
        """Return the responses with their grades."""
        return Responses(self.prompts, self.group_ids, self.completions, grades)


@dataclass(frozen=True)
class Responses(Ungraded):
    """Graded responses to prompts."""

    grades: list[Grade]

    def trainable_rows(self, responses_per_prompt: int) -> list[int]:
        """Return the rows to train on: without null grades, and without groups of which only one row is left."""
        known = [row for row, graded in enumerate(self.grades) if graded.reward is not None]
        if responses_per_prompt == 1:
            return known
        sizes: dict[int, int] = defaultdict(int)
        for row in known:
            sizes[self.group_ids[row]] += 1
        return [row for row in known if sizes[self.group_ids[row]] >= 2]


def rows_of_all(world: World, own: Sequence[Item], responses_per_prompt: int) -> list[Item]:
    """Return what all processes have for their responses, in the order of the prompts; a collective call.

    Args:
        world: the processes, each of which sampled for its share of the prompts.
        own: one item for each response of this process.
        responses_per_prompt: number of responses per prompt.
    """
    if world.size == 1:
        return list(own)
    by_prompt = [own[start : start + responses_per_prompt] for start in range(0, len(own), responses_per_prompt)]
    return [item for group in world.interleave(by_prompt) for item in group]


def requests_for(
    prompts: Sequence[TrainingPrompt], responses_per_prompt: int, seed_parts: tuple[str | int, ...]
) -> list[Request]:
    """Build the sampler's requests; seeds are derived from ``seed_parts``, prompt id and sample index."""
    return [
        Request(prompt.prompt_id, index, derive_seed(*seed_parts, prompt.prompt_id, index), prompt.token_ids)
        for prompt in prompts
        for index in range(responses_per_prompt)
    ]


def draw_responses(
    sampler: Sampler,
    prompts: Sequence[TrainingPrompt],
    responses_per_prompt: int,
    sampling: SamplingSettings,
    grading: GradingAhead,
    seed_parts: tuple[str | int, ...],
) -> Ungraded:
    """Sample responses, and start to grade each as soon as it is finished.

    Args:
        sampler: holds the current weights.
        prompts: one batch.
        responses_per_prompt: number of responses per prompt.
        sampling: as in stage 1.
        grading: has the grades in the order of the responses, later.
        seed_parts: run seed, purpose and step; prompt id and sample index are appended.
    """
    requests = requests_for(prompts, responses_per_prompt, seed_parts)
    completions = sampler.sample(requests, sampling, on_finished=grade_later(grading, prompts, responses_per_prompt))
    return Ungraded.of(prompts, responses_per_prompt, completions)


def grade_later(grading: GradingAhead, prompts: Sequence[TrainingPrompt], responses_per_prompt: int) -> OnFinished:
    """Return a function that begins to grade responses to the prompts as they finish."""

    def grade(places: Sequence[int], completions: Sequence[Completion]) -> None:
        asked = [prompts[place // responses_per_prompt] for place in places]
        grading.add(places, [_question(*one) for one in zip(asked, completions, strict=True)])

    return grade


def _question(prompt: TrainingPrompt, completion: Completion) -> Question:
    response = Response(completion.text, completion.token_ids, completion.finish_reason)
    return Question(prompt.verifier, prompt.gold, response)
