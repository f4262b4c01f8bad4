"""The memory of a training from its settings, checked before its models are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from astarpo.common.machine import MachineSettings
from astarpo.memory.check import IN_RUN
from astarpo.memory.parts import Estimate
from astarpo.memory.shape import ModelShape
from astarpo.memory.stages import halves
from astarpo.memory.training import training
from astarpo.memory.workload import Workload
from astarpo.model import memory
from astarpo.model.settings import Lora
from astarpo.objectives import METHODS
from astarpo.training.settings import TrainSettings

Changes = Mapping[str, object]  # of settings: key -> new value


@dataclass(frozen=True)
class PromptLengths:
    """The lengths of a training's prompts, in tokens.

    Attributes:
        longest: of all prompts.
        shared: that all of them begin with and that passes read once; 0: none, or the model cannot do that.
    """

    longest: int
    shared: int = 0

    @classmethod
    def of(cls, token_ids: Sequence[list[int]], config: Mapping[str, object], settings: TrainSettings) -> Self:
        """Measure prompts.

        Args:
            token_ids: of every prompt, for training and validation.
            config: contents of the model's config.json.
            settings: of the run.
        """
        # Both need torch, which an estimate without prompts does not.
        from astarpo.model.shared_prefix import EXACT
        from astarpo.sampling.transformers_engine import shared_beginning

        longest = max(map(len, token_ids), default=settings.prompting.max_prompt_tokens)
        can_share = config.get("model_type") in EXACT and settings.compile_model is not True
        return cls(longest, shared_beginning(token_ids) if can_share else 0)


def workload_of(settings: TrainSettings, shape: ModelShape, lengths: PromptLengths | None = None) -> Workload:
    """Pick out of a training's settings what its memory depends on.

    Args:
        settings: of the run.
        shape: of the model.
        lengths: of the prompts, if they are known; None: as long as is allowed, and they share nothing.
    """
    method, lora, keep = METHODS[settings.method], settings.lora, settings.keep
    known = lengths or PromptLengths(settings.prompting.max_prompt_tokens)
    return Workload(
        prompt_tokens=known.longest,
        response_tokens=settings.sampling.max_new_tokens,
        prompts=settings.prompts_per_batch,
        responses_per_prompt=settings.responses_per_prompt,
        updates_per_rollout=settings.updates_per_rollout,
        engine=settings.engine,
        precision=settings.precision,
        sampling_engine=settings.sampling_engine,
        keeps_groups=method.pairs,
        critic=method.needs_critic,
        lagged=method.anchor == "lagged",
        keeps_best=keep is not None and keep.best is not None,
        entropy_bonus=settings.entropy_coefficient > 0,
        adapters=None if lora is None else shape.adapters(lora.rank, lora.targets),
        base_precision="float32" if lora is None else lora.base_precision,
        chunk_tokens=settings.log_prob_chunk_tokens,
        draws_ahead=settings.pipeline is not None,
        shared_tokens=known.shared,
    )


def estimate(
    shape: ModelShape,
    settings: TrainSettings,
    machine: MachineSettings,
    processes: int,
    lengths: PromptLengths | None = None,
    device_bytes: float | None = None,
) -> Estimate:
    """Estimate the memory of a training; see `workload_of` and `astarpo.memory.training`.

    Args:
        shape: of the model.
        settings, machine: of the run.
        processes: that train together, on all nodes.
        lengths: of the prompts, if they are known.
        device_bytes: memory of a device; None: that of this machine's.
    """
    work = workload_of(settings, shape, lengths)
    total = memory.total_bytes(machine.device) if device_bytes is None else device_bytes
    return training(shape, work, machine, processes, total)


def remedies(
    shape: ModelShape,
    settings: TrainSettings,
    machine: MachineSettings,
    processes: int,
    lengths: PromptLengths | None = None,
    device_bytes: float | None = None,
) -> Iterator[tuple[str, Estimate]]:
    """Make other settings that take less memory, those first that change least; arguments as for `estimate`.

    Yields:
        What to write, and the estimate with it.
    """
    of_machine = (*_of_machine(settings, machine), *_together(settings, machine))
    for of_run, changes in (*(({}, one) for one in of_machine), *_of_run(settings, machine)):
        changed = settings.changed(**of_run), machine.changed(**changes)
        yield way_out(of_run, changes), estimate(shape, *changed, processes, lengths, device_bytes)


def way_out(of_run: Changes, of_machine: Changes) -> str:
    """Write changes for a message, such as ``lora: {rank: 16} in the run and machine: {micro_batch: 1}``.

    Args:
        of_run: one key of the run, or none.
        of_machine: keys of the section `machine`, or none.
    """
    parts = [f"{_flow(of_run)[1:-1]}{IN_RUN}"] if of_run else []
    parts += [f"machine: {_flow(of_machine)}"] if of_machine else []
    return " and ".join(parts)


def _flow(value: object) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return "null" if value is None else str(value).lower()


def _of_machine(settings: TrainSettings, machine: MachineSettings) -> Iterator[Changes]:
    """Single changes of the machine's settings, which change no results."""
    if not machine.activation_checkpointing:
        yield {"activation_checkpointing": True}
    yield from ({"micro_batch": size} for size in halves(machine.micro_batch))
    if machine.micro_batch_tokens is not None:
        yield from ({"micro_batch_tokens": size} for size in halves(machine.micro_batch_tokens, 512))
    if settings.sampling_engine == "transformers":
        yield from ({"sampling_batch": size} for size in halves(machine.sampling_batch))
    elif machine.device != "cpu":
        if machine.sampler_sleep_level == 0:
            yield {"sampler_sleep_level": 1}
        smaller = [share for share in (0.3, 0.2, 0.1) if share < machine.sampler_memory_share]
        yield from ({"sampler_memory_share": share} for share in smaller)
    if settings.engine == "deepspeed":
        yield from ({"zero_stage": stage} for stage in range(machine.zero_stage + 1, 4))
        if not machine.offload_optimizer:
            yield {"zero_stage": max(machine.zero_stage, 2), "offload_optimizer": True}


def _together(settings: TrainSettings, machine: MachineSettings) -> Iterator[Changes]:
    """Several changes at once."""
    least: Changes = {"activation_checkpointing": True, "micro_batch": 1}
    yield least
    if settings.sampling_engine == "transformers":
        yield {**least, "sampling_batch": min(16, machine.sampling_batch)}
    elif machine.device != "cpu":
        yield {**least, "sampler_sleep_level": max(1, machine.sampler_sleep_level)}
    if settings.engine == "deepspeed":
        yield {**least, "zero_stage": 3, "offload_optimizer": True, "offload_parameters": True}


def _of_run(settings: TrainSettings, machine: MachineSettings) -> Iterator[tuple[Changes, Changes]]:
    """Changes of the run, with those of the machine that they need: offloading first, as it changes no results."""
    if settings.lora is not None or settings.compile_model is True or settings.pipeline is not None:
        return
    least: Changes = {"activation_checkpointing": True, "micro_batch": 1}
    if settings.engine == "torch" and machine.device != "cpu":
        deepspeed = {"engine": "deepspeed"}
        yield deepspeed, {"zero_stage": 2, "offload_optimizer": True}
        yield deepspeed, {**least, "zero_stage": 3, "offload_optimizer": True, "offload_parameters": True}
    adapters = {"lora": {"rank": Lora().rank}}
    yield adapters, {}
    if not machine.activation_checkpointing:
        yield adapters, {"activation_checkpointing": True}
    yield adapters, least
