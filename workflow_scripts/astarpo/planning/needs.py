"""What a configuration needs of this machine besides memory and disk: torch for its device, packages, local files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path

from astarpo.common.devices import INSTALL_GPU, torch_problem
from astarpo.common.packages import BITSANDBYTES
from astarpo.config.policies import reference_of
from astarpo.config.runs import Config
from astarpo.data.settings import LocalFile
from astarpo.model.settings import packages_of
from astarpo.stage_one.settings import LocalModel

WAY_OUT = (
    f"{INSTALL_GPU} (without a GPU: pip install -r envs/pins/engines-cpu.txt), or let Snakemake install it: "
    "--software-deployment-method conda"
)


def missing(config: Config) -> list[str]:
    """Say in one line each what a configuration lacks here, and what to do: torch, packages, files."""
    torch = torch_problem(config.machine.device)
    return [*([] if torch is None else [torch]), *package_problems(_asked_for(config)), *_files(config)]


def package_problems(asked_for: Iterable[tuple[str, str]]) -> list[str]:
    """Find packages that cannot be imported here, without importing them, which is slow.

    Args:
        asked_for: packages, each with the key that asks for it, as `key_of` writes it.

    Returns:
        One line for each package, with the first key that asks for it and what to do.
    """
    first: dict[str, str] = {}
    for package, key in asked_for:
        first.setdefault(package, key)
    return [
        f"{key}: {package} cannot be imported here: {_way_out(package)}"
        for package, key in first.items()
        if importlib.util.find_spec(package) is None
    ]


def _way_out(package: str) -> str:
    if package == "bitsandbytes":  # in no environment of ours
        return f"pip install {BITSANDBYTES}, or set base_precision: bfloat16"
    return WAY_OUT


def key_of(config: Config, package: str, wildcards: Mapping[str, str]) -> str:
    """Write the key, with its value, that makes a job need a package.

    Args:
        config: checked.
        package: that one of the stages names.
        wildcards: of the job: a ``run``, a ``policy`` or a ``reference``.
    """
    run = wildcards.get("run")
    if package == "vllm":
        policy = run or wildcards.get("policy") or wildcards["reference"]
        return f"references.{reference_of(config, policy)}.sampling_engine = 'vllm'"
    keys = {"deepspeed": "engine = 'deepspeed'", "bitsandbytes": "lora.base_precision = 'nf4'"}
    return f"runs.{run}.{keys.get(package, 'lora')}"


def _asked_for(config: Config) -> list[tuple[str, str]]:
    """The packages that some job of a configuration needs, vLLM first, as the most of them need it."""
    engines = {name: entry.sampling_engine for name, entry in config.references.items()}
    found = [("vllm", {"reference": name}) for name, engine in engines.items() if engine == "vllm"]
    found += [("deepspeed", {"run": name}) for name, run in config.runs.items() if run.engine == "deepspeed"]
    found += [(package, {"run": name}) for name, run in config.runs.items() for package in packages_of(run.lora)]
    return [(package, key_of(config, package, wildcards)) for package, wildcards in found]


def _files(config: Config) -> list[str]:
    found = []
    for registry, entries in (("datasets", config.datasets), ("benchmarks", config.benchmarks)):
        for name, entry in entries.items():
            if isinstance(entry.source, LocalFile):
                paths = [entry.source.path] if isinstance(entry.source.path, str) else entry.source.path
                found += [f"{registry}.{name}.source.path = '{path}'" for path in paths if not Path(path).exists()]
    for name, reference in config.references.items():
        if isinstance(reference.source, LocalModel) and not Path(reference.source.path).is_dir():
            found.append(f"references.{name}.source.path = '{reference.source.path}'")
    return [f"{key}: is not there; paths are relative to the working directory" for key in found]
