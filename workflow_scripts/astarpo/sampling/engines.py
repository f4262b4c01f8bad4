"""Which engine draws: made by its name in the settings."""

from __future__ import annotations

from pathlib import Path

from astarpo.common.machine import MachineSettings
from astarpo.model.loading import Policy
from astarpo.sampling import Sampler
from astarpo.sampling.transformers_engine import TransformersSampler


def check_engine(engine: str, folder: str | Path) -> None:
    """Make sure that the engine is installed and can load a model, before anything takes long.

    Args:
        engine: ``transformers`` or ``vllm``.
        folder: the model folder.

    Raises:
        InputError: it is not, or cannot.
    """
    if engine == "vllm":
        from astarpo.sampling.vllm_engine import check_can_load

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
    """Make the sampler that settings name.

    Args:
        engine: ``transformers`` or ``vllm``.
        folder: the model folder that ``policy`` was loaded from.
        policy: drawn from by transformers; followed by vLLM if it is trained.
        machine: ``device``, ``sampling_batch``, and what begins with ``sampler_``.
        precision: ``float32`` or ``bfloat16``; transformers take it from the autocast around them.
        longest: tokens of the longest prompt and response together.
        trained: whether the policy's weights will change.

    Raises:
        InputError: vLLM is missing, does not know the model, or does not start.
    """
    if engine == "transformers":
        return TransformersSampler(policy.model, policy.tokenizer, policy.end_token_ids, machine.sampling_batch)
    from astarpo.sampling.vllm_engine import VllmMachine, VllmSampler

    vllm_machine = VllmMachine(
        machine.device,
        machine.sampling_batch,
        1 if trained else machine.sampler_tensor_parallel,
        machine.sampler_memory_share,
        machine.sampler_sleep_level,
    )
    return VllmSampler(
        folder,
        policy.tokenizer,
        policy.end_token_ids,
        precision,
        longest,
        vllm_machine,
        policy.model if trained else None,
    )
