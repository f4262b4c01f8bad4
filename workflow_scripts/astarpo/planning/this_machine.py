"""What this machine has: driver, cards, packages, compiler, hub, disk and RAM, one line for each, with what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Literal

from astarpo.common.devices import VISIBLE
from astarpo.config.runs import Config
from astarpo.model.memory import free_bytes
from astarpo.planning.cards import Machine
from astarpo.planning.cards_here import cards_here, visible
from astarpo.planning.hub import Asks, endpoint, hub_problems, unreachable
from astarpo.planning.needs import missing
from astarpo.training.compilation import compiler, missing_tool

ROOT = Path(__file__).resolve().parents[3]
GB = 1e9
NO_DRIVER = "no NVIDIA driver answers; without a GPU: machine: {device: cpu}, or MACHINE=8xH100"
PACKAGES = {
    "torch": "make install",
    "transformers": "make install",
    "vllm": "for sampling_engine: vllm: make install-gpu",
    "deepspeed": "for engine: deepspeed: make install-gpu",
    "peft": "for lora: make install-gpu",
}


@dataclass(frozen=True)
class Finding:
    """One line about a machine.

    Attributes:
        what: that was looked for.
        state: whether it is there.
        text: what was found, or what to do.
    """

    what: str
    state: Literal["ok", "missing"]
    text: str

    def __str__(self) -> str:
        return f"{self.what:14s}{self.state:9s}{self.text}"


def this_machine(folder: Path, nvidia_smi: str = "nvidia-smi") -> Machine:
    """Describe the machine that this runs on, with the cards that a program started now could use.

    Args:
        folder: in which the workflow would run, for the disk.
        nvidia_smi: the driver's program.
    """
    there = cards_here(nvidia_smi)
    seen = visible(there)
    least = min((one.card for one in seen), key=lambda card: card.memory_mib, default=None)
    facts = [] if least is None else [f"{len(seen)} x {least.name}"]
    facts += [f"{VISIBLE}={os.environ[VISIBLE]}"] if len(seen) < len(there) else []
    name = f"this machine ({', '.join(facts)})" if facts else "this machine"
    disk = float(shutil.disk_usage(folder).free)
    used = tuple(one.used_bytes for one in seen)
    return Machine(name, len(seen), least, free_bytes("cpu"), disk, here=True, used_bytes=used)


def lacking(config: Config, nvidia_smi: str = "nvidia-smi", asks: Asks | None = None) -> list[str]:
    """Say in one line each what a configuration lacks here besides memory and disk, and what to do.

    Args:
        config: checked.
        nvidia_smi: the driver's program.
        asks: as for `findings`.
    """
    driver = driver_problem(nvidia_smi) if config.machine.device != "cpu" else None
    return [*([] if driver is None else [driver]), *missing(config), *hub_problems(config, asks)]


def findings(folder: Path, nvidia_smi: str = "nvidia-smi", asks: Asks | None = None) -> Iterator[Finding]:
    """Look at this machine.

    Args:
        folder: in which the workflow would run.
        nvidia_smi: the driver's program.
        asks: asks the hub and returns why it cannot be reached, None if it can; None: over the network.

    Yields:
        One line for each thing; nothing takes longer than some seconds.
    """
    yield _driver(nvidia_smi)
    yield from _cards(nvidia_smi)
    yield Finding("Python", "ok", platform.python_version())
    yield from map(_package, PACKAGES)
    yield _compiler("cuda" if visible(cards_here(nvidia_smi)) else "cpu")
    yield _hub(asks)
    yield _token()
    yield Finding("disk", "ok", f"{shutil.disk_usage(folder).free / GB:,.0f} GB free in {folder}")
    yield _ram()


def driver_problem(nvidia_smi: str = "nvidia-smi") -> str | None:
    """Say in one line why the driver is too old; None if it is not, or if there is none.

    Args:
        nvidia_smi: the driver's program.
    """
    check = _driver_check()
    found = None if check is None else check.driver_version(nvidia_smi)
    if check is None or found is None:
        return None
    problem: str | None = check.problem(found, _cuda_version(check))
    return problem


def _cuda_version(check: ModuleType) -> str:
    """That of the locked torch."""
    return str(check.cuda_version(check.LOCK.read_text(encoding="utf-8")))


def _driver(nvidia_smi: str) -> Finding:
    check = _driver_check()
    if check is None:
        return Finding("driver", "missing", "envs/driver.py, which checks it, is not here")
    cuda = _cuda_version(check)
    found = check.driver_version(nvidia_smi)
    problem = check.problem(found, cuda)
    if found is None:
        return Finding("driver", "missing", NO_DRIVER)
    if problem is not None:
        return Finding("driver", "missing", problem)
    return Finding("driver", "ok", f"{found}, new enough for CUDA {'.'.join(cuda.split('.')[:2])}")


def _driver_check() -> ModuleType | None:
    """Load envs/driver.py, which is no package, as it runs before anything is installed."""
    spec = importlib.util.spec_from_file_location("driver", ROOT / "envs/driver.py")
    if spec is None or spec.loader is None or not (ROOT / "envs/driver.py").is_file():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cards(nvidia_smi: str) -> Iterator[Finding]:
    cards = cards_here(nvidia_smi)
    if not cards:
        yield Finding("cards", "missing", "none; the default configuration and the SmolLM2 recipes run on a CPU")
    seen = visible(cards)
    if cards and not seen:
        named = os.environ[VISIBLE]
        yield Finding(
            "cards", "missing", f"none of these is named by {VISIBLE}={named}; unset it, or name some of them"
        )
    for number, one in enumerate(cards):
        busy = f"; {one.used_bytes / GB:.1f} GB are used by other programs" if one.used_bytes > GB else ""
        hidden = "" if one in seen else f"; not used, as {VISIBLE}={os.environ[VISIBLE]}"
        yield Finding(f"card {number}", "ok", f"{one.card.name}, {one.card.total_bytes / GB:.1f} GB{busy}{hidden}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", PACKAGES[name])


def _compiler(device: str) -> Finding:
    """What compiled passes need on a device, and what that means for trainings."""
    there, absent = compiler(device), missing_tool(device)
    where, way_out = ("on a GPU", "apt-get install gcc") if device == "cuda" else ("on a CPU", "apt-get install g++")
    if absent is not None:
        todo = f"{way_out} on Debian" if there is None else "make install-gpu"
        return Finding("compiler", "missing", f"{absent}, so trainings {where} cannot compile their passes: {todo}")
    by_default = "auto, the default" if device == "cuda" else "true"
    return Finding("compiler", "ok", f"{there}, for trainings {where} with compile_model: {by_default}")


def _hub(asks: Asks | None) -> Finding:
    reason = unreachable(asks)
    if reason is None:
        return Finding("hub", "ok", f"{endpoint()} answers")
    return Finding("hub", "missing", f"offline, {reason}; local files instead: config/recipes/with_local_*.yaml")


def _token() -> Finding:
    from huggingface_hub import get_token

    if get_token():
        return Finding("hub token", "ok", "is set (not tried)")
    return Finding("hub token", "missing", "only gated models need one: accept the licence, then set HF_TOKEN")


def _ram() -> Finding:
    free = free_bytes("cpu")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if free is None:
        return Finding("RAM", "missing", "how much is free is not known on this system")
    return Finding("RAM", "ok", f"{free / GB:,.1f} GB free; {cores} cores")
