"""A rollout batch: sampled responses, their grades, and the rows to train on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.common.seeds import derive_seed
from astarpo.model.world import World
from astarpo.rewards.grading import Grade, Grader, Question
from astarpo.rewards.verifiers import Response
from astarpo.sampling import Completion, Request, Sampler
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.phases import PhaseClock
from astarpo.training.prompts import TrainingPrompt


@dataclass(frozen=True)
class Responses:
    """Graded responses to prompts; each ``responses_per_prompt`` consecutive ones share a prompt."""

    prompts: list[TrainingPrompt]
    group_ids: list[int]
    completions: list[Completion]
    grades: list[Grade]

    def of_all(self, world: World, prompts: Sequence[TrainingPrompt], responses_per_prompt: int) -> Responses:
        """Return the responses of all processes in the order of the prompts, as if one process had sampled them.

        Args:
            world: the processes, each of which sampled for its share of the prompts.
            prompts: of the whole batch.
            responses_per_prompt: number of responses per prompt.
        """
        if world.size == 1:
            return self
        graded_completions = list(zip(self.completions, self.grades, strict=True))
        size = responses_per_prompt
        starts = range(0, len(graded_completions), size)
        by_prompt = [graded_completions[start : start + size] for start in starts]
        rows = [row for group in world.interleave(by_prompt) for row in group]
        return Responses(
            [prompt for prompt in prompts for _ in range(size)],
            [index // size for index in range(len(rows))],
            [completion for completion, _ in rows],
            [graded for _, graded in rows],
        )

    def surprisals(self, rows: Sequence[int]) -> list[float]:
        """Return -ln pi(y|x) of the rows under the distribution they were drawn from, in nats."""
        return [-self.completions[row].logprob_sum for row in rows]

    def trainable_rows(self, responses_per_prompt: int) -> list[int]:
        """Return the rows to train on: without null grades, and without groups of which only one row is left."""
        known = [row for row, graded in enumerate(self.grades) if graded.reward is not None]
        if responses_per_prompt == 1:
            return known
        sizes: dict[int, int] = defaultdict(int)
        for row in known:
            sizes[self.group_ids[row]] += 1
        return [row for row in known if sizes[self.group_ids[row]] >= 2]


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
    grader: Grader,
    seed_parts: tuple[str | int, ...],
    clock: PhaseClock,
) -> Responses:
    """Sample and grade responses.

    Args:
        sampler: holds the current weights.
        prompts: one batch.
        responses_per_prompt: number of responses per prompt.
        sampling, grader: as in stage 1.
        seed_parts: run seed, purpose and step; prompt id and sample index are appended.
        clock: for the phases ``generate`` and ``grade``.
    """
    repeated = [prompt for prompt in prompts for _ in range(responses_per_prompt)]
    requests = requests_for(prompts, responses_per_prompt, seed_parts)
    with clock.phase("generate"):
        completions = sampler.sample(requests, sampling)
    with clock.phase("grade", waits=True):
        grades = grader.grade(
            Question(
                prompt.verifier, prompt.gold, Response(completion.text, completion.token_ids, completion.finish_reason)
            )
            for prompt, completion in zip(repeated, completions, strict=True)
        )
    groups = [index // responses_per_prompt for index in range(len(repeated))]
    return Responses(repeated, groups, completions, grades)
