"""vLLM in this process: whether it can be loaded here, and what its start does to the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from astarpo.common.errors import InputError
from astarpo.common.files import read_json_object

INSTALL = (
    "install it with `make install-gpu` (without a GPU: `pip install -r envs/pins/engines-cpu.txt`), run "
    "snakemake with --software-deployment-method conda, or set sampling_engine: transformers"
)


def check_can_load(folder: str | Path) -> None:
    """Check that vLLM is installed and knows the architecture, before any slow work starts.

    Args:
        folder: a model folder.

    Raises:
        InputError: it is not installed or does not know it; the message says what to do.
    """
    # vLLM reads this on import: engine and worker must live in this process.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # send no usage statistics
    try:
        from vllm import ModelRegistry
    except ImportError as error:
        raise InputError(f"sampling_engine is vllm, but vLLM cannot be imported ({error}): {INSTALL}") from error
    wanted = read_json_object(Path(folder) / "config.json").get("architectures") or []
    if not set(wanted) & set(ModelRegistry.get_supported_archs()):
        raise InputError(
            f"{folder}: this vLLM cannot load the architecture {', '.join(wanted) or '(none is named)'}: set "
            "sampling_engine: transformers in the reference's entry"
        )


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Undo what vLLM's start does to this process: it seeds all random generators and sets the number of threads."""
    import random

    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    kind = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        for device, state in enumerate(on_gpus):
            torch.cuda.set_rng_state(state, device)
