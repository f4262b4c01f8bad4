"""The jobs of a configuration that load a model: their memory, and their seconds by phase on a card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from astarpo.common.cards import Card
from astarpo.common.machine import MachineSettings
from astarpo.memory.activations import Kind
from astarpo.memory.check import Remedies
from astarpo.memory.parts import Estimate
from astarpo.memory.shape import ModelShape
from astarpo.memory.vllm_places import vllm_cache_tokens, vllm_places
from astarpo.planning.roofline import MEMORY, Drawing, transformers_s, vllm_s

PROMPT_TOKENS = 150  # supposed mean, as of GSM8K and MATH; less where max_prompt_tokens is
START_S = 70.0  # of vLLM: loading, compiling, CUDA graphs; supposed
PUSH_S = 0.4  # for copying new weights into vLLM, and comparing them; supposed
Seconds = Mapping[str, float | None]


@dataclass(frozen=True)
class SmallCache:
    """The cache of a vLLM that does not hold the longest prompt and response.

    Attributes:
        card: that it has a share of.
        tokens: whose keys and values it holds.
        prompt, response: tokens of the longest.
    """

    card: str
    tokens: float
    prompt: int
    response: int


@dataclass(frozen=True)
class Job:
    """Jobs of a stage that take the same.

    Attributes:
        stage: ``stage 1``, ``training``, ``evaluation`` or ``warm start``.
        name: of what they work on.
        model: what a person calls it.
        count: number of these jobs.
        cards: GPUs of one of them on a node; 0 on a CPU.
        estimate: of its memory; None if the model's shape is not known.
        seconds: of its phases; None if they are not known.
        per_step: whether the phases are those of a step.
        steps: how often they come; 1 if they are those of the job.
        once: seconds of a job besides.
        cache: of a vLLM that could not start, because its cache is too small; None if it can.
        nodes: that one of them takes.
        first: the name of the first of those that were put together; empty if there is only one.
        remedies: other settings with their estimates.
    """

    stage: str
    name: str
    model: str
    count: int
    cards: int
    estimate: Estimate | None
    seconds: Seconds = field(default_factory=dict)
    per_step: bool = False
    steps: int = 1
    once: float | None = 0.0
    cache: SmallCache | None = None
    nodes: int = 1
    first: str = ""
    remedies: Callable[[], Remedies] | None = field(default=None, compare=False)

    @property
    def total_s(self) -> float | None:
        """Seconds of one of the jobs; None if a phase's are not known."""
        known = [one for one in self.seconds.values() if one is not None]
        if not self.seconds or len(known) < len(self.seconds) or self.once is None:
            return None
        return self.steps * sum(known) + self.once


def merged(jobs: Iterable[Job]) -> list[Job]:
    """Put jobs together that take the same; their first name counts."""
    distinct: dict[int, tuple[Job, int, int]] = {}
    for job in jobs:
        plain = replace(job, name="", count=0)
        index = next((i for i, (one, _, _) in distinct.items() if replace(one, name="", count=0) == plain), None)
        if index is None:
            distinct[len(distinct)] = (job, job.count, 0)
        else:
            first, count, others = distinct[index]
            distinct[index] = (first, count + job.count, others + 1)
    return [
        replace(job, count=count, name=f"{job.name} and {others} more", first=job.name)
        if others
        else replace(job, count=count)
        for job, count, others in distinct.values()
    ]


@dataclass(frozen=True)
class Sampler:
    """How an engine draws on a device.

    Attributes:
        shape, machine: of the model and the settings.
        card: the device; None on a CPU.
        engine: ``transformers`` or ``vllm``.
        precision: ``float32`` or ``bfloat16``.
        longest: tokens of the longest prompt plus response that it is started for.
        trained: whether a policy is trained beside it.
    """

    shape: ModelShape
    machine: MachineSettings
    card: Card | None
    engine: str
    precision: str
    longest: int
    trained: bool = False

    @property
    def cards(self) -> int:
        """GPUs that share the model."""
        return self.machine.sampler_tensor_parallel if self.engine == "vllm" and not self.trained else 1

    @property
    def share_bytes(self) -> float:
        """Bytes of the cards that vLLM takes."""
        assert self.card is not None
        return self.machine.vllm_share(self.trained) * self.card.total_bytes * self.cards

    @property
    def at_a_time(self) -> int:
        """Responses that are drawn together: vLLM goes by its cache, see `memory.vllm_places`."""
        if self.engine != "vllm":
            return self.machine.sampling_batch
        return vllm_places(self.shape, self.precision, self.longest, self.share_bytes)

    def small_cache(self, prompt: int, response: int) -> SmallCache | None:
        """The cache of a vLLM that cannot start, as it does not hold the longest prompt and response, in tokens."""
        if self.engine != "vllm" or self.card is None or not self.shape.layers:
            return None
        tokens = vllm_cache_tokens(self.shape, self.precision, self.share_bytes)
        return None if tokens >= prompt + response else SmallCache(self.card.name, tokens, prompt, response)

    def seconds(self, responses: float, prompt: float, longest: int) -> float | None:
        """Seconds in which it draws, started up already.

        Args:
            responses: in all.
            prompt: mean tokens of a prompt.
            longest: tokens of the longest response.
        """
        if self.card is None or not self.shape.layers:
            return None
        drawing = Drawing(responses, prompt, longest, self.at_a_time)
        if self.engine != "vllm":
            kind: Kind = "float32" if self.precision == "float32" else "bfloat16"
            return transformers_s(self.shape, self.card, kind, drawing)
        if self.precision != "bfloat16":
            return None
        return vllm_s(self.shape, self.card, drawing, self.cards)

    @property
    def start_s(self) -> float:
        """Seconds until it draws: of vLLM's start, or of reading fp32 weights into memory."""
        return START_S if self.engine == "vllm" else 0.0


def prompt_tokens(longest: int) -> float:
    """Supposed mean tokens of a prompt.

    Args:
        longest: that is allowed.
    """
    return float(min(PROMPT_TOKENS, longest))


def added(first: float | None, *others: float | None) -> float | None:
    """Add seconds; None if some are not known."""
    if first is None:
        return None
    total = first
    for one in others:
        if one is None:
            return None
        total += one
    return total


def moving_s(card: Card, moved: float) -> float | None:
    """Seconds in which a card's memory moves so many bytes."""
    return None if card.bandwidth is None else moved / (card.bandwidth * MEMORY)
