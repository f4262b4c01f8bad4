"""The numbers of a training that determine its memory, apart from model and machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from astarpo.common.machine import MachineSettings
from astarpo.memory.activations import Kind


@dataclass(frozen=True)
class Workload:
    """A training, as far as memory is concerned.

    Attributes:
        prompt_tokens, response_tokens: of the longest prompt and the longest response.
        prompts: of a rollout.
        responses_per_prompt: of each.
        updates_per_rollout: optimizer steps, each on an equal share of the rollout.
        engine: ``torch`` or ``deepspeed``.
        precision: ``float32`` or ``bfloat16``.
        sampling_engine: ``transformers`` or ``vllm``.
        keeps_groups: whether a prompt's responses must be in one micro-batch.
        critic: whether a second model as large as the policy is trained.
        lagged: whether the weights of the last synchronisation are kept.
        keeps_best: whether the best weights so far are kept in RAM.
        entropy_bonus: whether the loss has one.
        adapters: weights of LoRA's matrices; None: all weights are trained.
        base_precision: of the weights beside the adapters.
        chunk_tokens: response tokens whose logits exist at a time; None: all.
        draws_ahead: whether a second process draws, with weights of its own; on GPUs it has a card of its own.
        shared_tokens: that all prompts begin with and that are read once, see `model.shared_prefix`.
    """

    prompt_tokens: int
    response_tokens: int
    prompts: int
    responses_per_prompt: int = 1
    updates_per_rollout: int = 1
    engine: Literal["torch", "deepspeed"] = "torch"
    precision: Literal["float32", "bfloat16"] = "float32"
    sampling_engine: Literal["transformers", "vllm"] = "transformers"
    keeps_groups: bool = False
    critic: bool = False
    lagged: bool = False
    keeps_best: bool = False
    entropy_bonus: bool = False
    adapters: int | None = None
    base_precision: Literal["float32", "bfloat16", "nf4"] = "float32"
    chunk_tokens: int | None = 512
    draws_ahead: bool = False
    shared_tokens: int = 0

    @property
    def kind(self) -> Kind:
        """How passes compute."""
        return self.precision

    @property
    def length(self) -> int:
        """Tokens of the longest prompt and response together."""
        return self.prompt_tokens + self.response_tokens

    @property
    def rows(self) -> int:
        """Responses of an update."""
        return -(-self.prompts // self.updates_per_rollout) * self.responses_per_prompt

    def micro_batch(self, machine: MachineSettings, processes: int) -> float:
        """Rows of the largest micro-batch, if all rows are as long as possible; see `training.microbatches`.

        A limit of tokens is reached by shorter rows as well, so this need not be a whole number. Several processes
        share the rows evenly; if some are shorter, a micro-batch may have more of them, but no more tokens.
        """
        unit = self._unit
        rows: float = max(unit, machine.micro_batch // unit * unit)
        if machine.micro_batch_tokens is not None:
            rows = min(rows, max(unit, machine.micro_batch_tokens / self.length))
        return min(rows, self._rows_of_process(processes))

    def in_one_pass(self, machine: MachineSettings, processes: int) -> bool:
        """Whether each process's share of an update's rows is a single micro-batch."""
        return self.micro_batch(machine, processes) >= self._rows_of_process(processes)

    @property
    def _unit(self) -> int:
        """Rows that must be in one micro-batch."""
        return self.responses_per_prompt if self.keeps_groups else 1

    def _rows_of_process(self, processes: int) -> int:
        return -(-self.rows // (self._unit * processes)) * self._unit

    def sampled_rows(self, machine: MachineSettings, processes: int) -> int:
        """Responses that a process draws at a time."""
        share = -(-self.prompts // processes) * self.responses_per_prompt
        return min(machine.sampling_batch, share)
