"""Optional modules and packages that several stages choose in the same way; `astarpo.common.code.OPTIONAL` lists them.

What is pushed into vLLM is taken from the model by lora.py, also where there are no adapters.
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
    """Whether a policy is sampled from with vLLM."""
    return config.references[reference_of(config, policy)].sampling_engine == "vllm"


def sampling_modules(config: Config, policy: str) -> Chosen:
    """The engine that draws a policy's responses."""
    return merge_modules(VLLM_MODULES if uses_vllm(config, policy) else ())


def sampling_packages(config: Config, policy: str) -> tuple[str, ...]:
    """What the engine needs that the usual environment does not have."""
    return ("vllm",) if uses_vllm(config, policy) else ()


def verifier_file(entry: TaskEntry) -> dict[str, str]:
    """The file of a verifier of the user's own, as an input; empty where the task has one of ours."""
    return {"verifier": own_file(entry.verifier)} if is_own(entry.verifier) else {}


def verifier_modules(entry: TaskEntry) -> Chosen:
    """The same file as code."""
    return tuple(verifier_file(entry).values())


def merge_modules(*groups: Chosen) -> Chosen:
    """Modules of several groups, each once, in one order."""
    return tuple(sorted({module for group in groups for module in group}))
