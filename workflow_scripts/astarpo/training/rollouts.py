"""One rollout batch: responses from the current policy, their grades, and the rows that are trained on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from astarpo.common.seeds import derive_seed
from astarpo.rewards.grading import Grade, Grader, Question
from astarpo.rewards.verifiers import Response
from astarpo.sampling import Completion, Request, Sampler
from astarpo.sampling.settings import SamplingSettings
from astarpo.training.prompts import TrainingPrompt
from astarpo.training.world import World


class PhaseClock:
    """Adds up wall-clock seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the time of the block under ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started


@dataclass(frozen=True)
class Responses:
    """Responses to some prompts with their grades; ``responses_per_prompt`` neighbours share a prompt."""

    prompts: list[TrainingPrompt]
    group_ids: list[int]
    completions: list[Completion]
    grades: list[Grade]

    def of_all(self, world: World, prompts: Sequence[TrainingPrompt], responses_per_prompt: int) -> Responses:
        """The responses of all processes, in the order of the prompts, as if one had drawn them.

        Args:
            world: each process of it drew for its share of the prompts.
            prompts: of the whole batch.
            responses_per_prompt: how many were drawn for each.
        """
        if world.size == 1:
            return self
        each = list(zip(self.completions, self.grades, strict=True))
        size = responses_per_prompt
        by_prompt = [each[start : start + size] for start in range(0, len(each), size)]
        rows = [row for group in world.interleave(by_prompt) for row in group]
        return Responses(
            [prompt for prompt in prompts for _ in range(size)],
            [index // size for index in range(len(rows))],
            [completion for completion, _ in rows],
            [graded for _, graded in rows],
        )

    def trainable_rows(self, responses_per_prompt: int) -> list[int]:
        """Rows to train on: without null grades, and of a group no less than two (a pair stays whole)."""
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
    """What to ask the sampler for; the seeds come from ``seed_parts``, prompt id and sample index."""
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
    """Draw and grade responses.

    Args:
        sampler: holds the current weights.
        prompts: one batch.
        responses_per_prompt: how many to draw for each.
        sampling, grader: as in stage 1.
        seed_parts: run seed, purpose and step; the prompt and sample index are added to it.
        clock: the phases ``generate`` and ``grade`` are booked on it.
    """
    repeated = [prompt for prompt in prompts for _ in range(responses_per_prompt)]
    requests = requests_for(prompts, responses_per_prompt, seed_parts)
    with clock.phase("generate"):
        completions = sampler.sample(requests, sampling)
    with clock.phase("grade"):
        grades = grader.grade(
            Question(
                prompt.verifier, prompt.gold, Response(completion.text, completion.token_ids, completion.finish_reason)
            )
            for prompt, completion in zip(repeated, completions, strict=True)
        )
    groups = [index // responses_per_prompt for index in range(len(repeated))]
    return Responses(repeated, groups, completions, grades)
