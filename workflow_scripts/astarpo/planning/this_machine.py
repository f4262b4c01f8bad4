"""What this machine has: driver, cards, packages, hub, disk and RAM, one line for each, with what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Literal

from astarpo.model.memory import free_bytes
from astarpo.planning.cards import MIB, Card, Machine, card_of

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 5.0  # for the hub to answer
ANSWER_S = 30.0  # for nvidia-smi
GB = 1e9
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
    """Describe the machine that this runs on.

    Args:
        folder: in which the workflow would run, for the disk.
        nvidia_smi: the driver's program.
    """
    cards = [card for card, _ in cards_here(nvidia_smi)]
    disk = float(shutil.disk_usage(folder).free)
    least = min(cards, key=lambda card: card.memory_mib, default=None)
    name = "this machine" if least is None else f"this machine ({len(cards)} x {least.name})"
    return Machine(name, len(cards), least, free_bytes("cpu"), disk, here=True)


def cards_here(nvidia_smi: str = "nvidia-smi") -> list[tuple[Card, float]]:
    """Ask the driver for this machine's cards.

    Args:
        nvidia_smi: the driver's program.

    Returns:
        Each card, and the bytes that programs use on it; none without a driver.
    """
    query = [nvidia_smi, "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = []
    for line in answer.stdout.splitlines() if answer.returncode == 0 else []:
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            found.append((card_of(parts[0], int(parts[1])), float(int(parts[2]) * MIB)))
    return found


def findings(
    folder: Path, nvidia_smi: str = "nvidia-smi", asks: Callable[[], str | None] | None = None
) -> Iterator[Finding]:
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
    yield _hub(asks or _ask_hub)
    yield _token()
    yield Finding("disk", "ok", f"{shutil.disk_usage(folder).free / GB:,.0f} GB free in {folder}")
    yield _ram()


def _driver(nvidia_smi: str) -> Finding:
    check = _driver_check()
    if check is None:
        return Finding("driver", "missing", "envs/driver.py, which checks it, is not here")
    cuda = check.cuda_version(check.LOCK.read_text(encoding="utf-8"))
    found = check.driver_version(nvidia_smi)
    problem = check.problem(found, cuda)
    if found is None:
        return Finding(
            "driver", "missing", "no NVIDIA driver answers; without a GPU: machine: {device: cpu}, or MACHINE=8xH100"
        )
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
    for number, (card, used) in enumerate(cards):
        busy = f"; {used / GB:.1f} GB are used by other programs" if used > GB else ""
        yield Finding(f"card {number}", "ok", f"{card.name}, {card.total_bytes / GB:.1f} GB{busy}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", PACKAGES[name])


def _hub(asks: Callable[[], str | None]) -> Finding:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "missing", "HF_HUB_OFFLINE is set: only what its cache holds, or with_local_*.yaml")
    reason = _in_time(asks)
    if reason is None:
        return Finding("hub", "ok", f"{constants.ENDPOINT} answers")
    return Finding("hub", "missing", f"offline, {reason}; local files instead: config/recipes/with_local_*.yaml")


def _in_time(asks: Callable[[], str | None]) -> str | None:
    """Wait for an answer, also where looking up the name hangs, which no timeout of the request covers."""
    answers: list[str | None] = []
    thread = Thread(target=lambda: answers.append(asks()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S + 1)
    return answers[0] if answers else f"no answer in {PATIENCE_S:.0f} s"


def _ask_hub() -> str | None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE_S):
            return None
    except HTTPError as error:  # it answers
        return None if error.code < 500 else f"it answers {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__


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
