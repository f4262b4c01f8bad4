"""The sampling engine, chosen by its name in the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from astarpo.common.machine import MachineSettings
from astarpo.model.policy import Policy
from astarpo.model.precision import to_bfloat16
from astarpo.sampling import Sampler
from astarpo.sampling.transformers_engine import TransformersSampler


@dataclass
class OneStart:
    """An engine for several tables of responses of one policy, started when the first of them needs it.

    Attributes:
        longest: prompt plus response of the longest of all, in tokens.
        sampler: the engine, once it has started.
    """

    longest: int
    sampler: Sampler | None = None

    @property
    def has_started(self) -> bool:
        """Whether the engine runs."""
        return self.sampler is not None

    def get(self, longest: int, make: Callable[[int], Sampler]) -> Sampler:
        """Return the engine, which ``make`` starts for at least ``longest`` tokens if it does not run."""
        if self.sampler is None:
            self.sampler = make(max(longest, self.longest))
        return self.sampler


def check_engine(engine: str, folder: str | Path) -> None:
    """Check that the engine is installed and can load a model, before any slow work starts.

    Args:
        engine: ``transformers`` or ``vllm``.
        folder: the model folder.

    Raises:
        InputError: it is not installed or cannot load the model.
    """
    if engine == "vllm":
        from astarpo.sampling.vllm_process import check_can_load

        check_can_load(folder)


def make_sampler(
    engine: str,
    folder: str | Path,
    policy: Policy,
    machine: MachineSettings,
    *,
    precision: str,
    longest: int,
    trained: bool,
) -> Sampler:
    """Make the sampler that the settings name.

    Args:
        engine: ``transformers`` or ``vllm``.
        folder: the model folder that ``policy`` was loaded from.
        policy: transformers samples from it; vLLM follows its weights if it is trained.
        machine: ``device``, ``sampling_batch`` and the settings that begin with ``sampler_``.
        precision: ``float32`` or ``bfloat16``, in which transformers samples from a policy that is not trained; one
            that is trained has the weights to compute with already.
        longest: length of the longest prompt plus response, in tokens.
        trained: whether the policy's weights will change.

    Raises:
        InputError: vLLM is missing, does not know the model, or does not start.
    """
    if engine == "transformers":
        if precision == "bfloat16" and not trained:
            to_bfloat16(policy.model)
        return TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, machine.sampling_batch)
    from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler

    return VllmSampler(
        folder,
        policy.tokenizer,
        policy.end_token_ids,
        precision,
        longest,
        VllmMachine.of(machine, trained, policy.trust_remote_code),
        policy.model if trained else None,
    )
