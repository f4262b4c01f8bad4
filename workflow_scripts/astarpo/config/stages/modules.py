"""Optional modules and packages of several stages; `astarpo.common.code.OPTIONAL` lists the modules.

vLLM needs lora.py even without adapters, because it reads the weights that are copied into vLLM.
"""

from __future__ import annotations

from pathlib import Path

from astarpo.common.code import Chosen
from astarpo.common.own_files import own_files
from astarpo.config.policies import reference_of
from astarpo.config.runs import Config
from astarpo.config.schema import TaskEntry
from astarpo.config.stages.stage import Inputs
from astarpo.rewards.verifiers import is_own, own_file

VLLM_MODULES = (
    "astarpo.sampling.vllm_engine",
    "astarpo.sampling.vllm_process",
    "astarpo.sampling.vllm_weights",
    "astarpo.model.lora",
)
DEEPSPEED_MODULES = ("astarpo.training.deepspeed.loading",)
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


def verifier_files(entry: TaskEntry) -> Inputs:
    """The file of a custom verifier and those that it imports, as an input; empty for built-in verifiers."""
    if not is_own(entry.verifier):
        return {}
    files = own_files(own_file(entry.verifier))
    return {"verifier": list(files) if len(files) > 1 else files[0]}


def verifier_modules(entry: TaskEntry) -> Chosen:
    """The file of a custom verifier, as code; it stands for those that it imports."""
    return (Path(own_file(entry.verifier)).as_posix(),) if is_own(entry.verifier) else ()


def merge_modules(*groups: Chosen) -> Chosen:
    """Merge groups of modules, sorted and without duplicates."""
    return tuple(sorted({module for group in groups for module in group}))
