"""What a configuration needs of this machine besides memory and disk: packages, local files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from astarpo.config.runs import Config
from astarpo.data.settings import LocalFile
from astarpo.stage_one.settings import LocalModel


def missing(config: Config) -> list[str]:
    """Say in one line each which packages and files a configuration lacks here, and what to do."""
    return [*_packages(config), *_files(config)]


def _packages(config: Config) -> list[str]:
    vllm = [name for name, entry in config.references.items() if entry.sampling_engine == "vllm"]
    deepspeed = [name for name, run in config.runs.items() if run.engine == "deepspeed"]
    lora = [name for name, run in config.runs.items() if run.lora is not None]
    used = {
        "vllm": [f"references.{name}.sampling_engine = 'vllm'" for name in vllm],
        "deepspeed": [f"runs.{name}.engine = 'deepspeed'" for name in deepspeed],
        "peft": [f"runs.{name}.lora" for name in lora],
    }
    return [
        f"{keys[0]}: {package} is not installed: make install-gpu, then activate .venv-gpu"
        for package, keys in used.items()
        if keys and importlib.util.find_spec(package) is None
    ]


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
