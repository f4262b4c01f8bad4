"""Optional modules and packages of several stages; `astarpo.common.code.OPTIONAL` lists the modules.

vLLM needs lora.py even without adapters, because it reads the weights that are copied into vLLM.
"""

from __future__ import annotations

from astarpo.common.code import Chosen
from astarpo.config.policies import reference_of
from astarpo.config.runs import Config
from astarpo.config.schema import TaskEntry
from astarpo.rewards.verifiers import is_own, own_file

VLLM_MODULES = ("astarpo.sampling.vllm_engine", "astarpo.sampling.vllm_weights", "astarpo.model.lora")
DEEPSPEED_MODULES = ("astarpo.training.deepspeed.engine",)
LORA_MODULES = ("astarpo.model.lora",)
ESTIMATE_MODULES = ("astarpo.stage_one.values",)


def uses_vllm(config: Config, policy: str) -> bool:
    """Whether vLLM samples from a policy."""
    return config.references[reference_of(config, policy)].sampling_engine == "vllm"


def sampling_modules(config: Config, policy: str) -> Chosen:
    """The modules of a policy's sampling engine."""
    return merge_modules(VLLM_MODULES if uses_vllm(config, policy) else ())


def sampling_packages(config: Config, policy: str) -> tuple[str, ...]:
    """The packages of a policy's sampling engine that the default environment lacks."""
    return ("vllm",) if uses_vllm(config, policy) else ()


def verifier_file(entry: TaskEntry) -> dict[str, str]:
    """The file of a custom verifier, as an input; empty for built-in verifiers."""
    return {"verifier": own_file(entry.verifier)} if is_own(entry.verifier) else {}


def verifier_modules(entry: TaskEntry) -> Chosen:
    """The file of a custom verifier, as code."""
    return tuple(verifier_file(entry).values())


def merge_modules(*groups: Chosen) -> Chosen:
    """Merge groups of modules, sorted and without duplicates."""
    return tuple(sorted({module for group in groups for module in group}))
