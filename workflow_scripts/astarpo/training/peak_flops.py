"""The peak of a device: the FLOP/s that shares are shares of."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache

import torch

from astarpo.common.cards import MIB, card_of
from astarpo.training.phases import wait_for_device

SIZES = {"cpu": 1024, "cuda": 8192}  # of square matrices, large enough for full speed
TRIES, LIMIT_S = 5, 0.3


@dataclass(frozen=True)
class Peak:
    """The highest speed of a device in a precision.

    Attributes:
        flops: FLOP/s.
        source: where the number is from, for people.
    """

    flops: float
    source: str


@cache
def peak_of(device: str, precision: str) -> Peak:
    """Look a card's bfloat16 peak up by its name; measure any other device and precision, once in a process.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``bfloat16``, of the training.
    """
    if device == "cuda" and precision == "bfloat16":
        about = torch.cuda.get_device_properties(torch.cuda.current_device())
        card = card_of(about.name, about.total_memory // MIB)
        if card.flops is not None:
            return Peak(card.flops, f"the maker's number for {card.name}")
    return Peak(measured_flops(device, getattr(torch, precision)), f"measured in {precision}")


@torch.no_grad()
def measured_flops(device: str, dtype: torch.dtype) -> float:
    """Measure the fastest of a few products of square matrices.

    Args:
        device: ``cpu`` (with the number of threads that torch has) or ``cuda``.
        dtype: of the matrices.

    Returns:
        FLOP/s: 2 n^3 for matrices of n rows, over the shortest time.
    """
    size = SIZES[device]
    matrix = torch.full((size, size), 1.0 / size, dtype=dtype, device=device)
    deadline, shortest = time.perf_counter() + LIMIT_S, float("inf")
    for _ in range(TRIES):
        wait_for_device()
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        wait_for_device()
        shortest = min(shortest, time.perf_counter() - started)
        if time.perf_counter() > deadline:
            break
    return 2 * size**3 / shortest
