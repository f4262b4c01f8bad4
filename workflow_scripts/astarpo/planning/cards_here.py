"""The cards of this machine: what the driver says of them, and which of them a program may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from astarpo.common.cards import MIB, Card, card_of
from astarpo.common.devices import VISIBLE, named_devices

ANSWER_S = 30.0  # for nvidia-smi
FACTS = ("name", "memory.total", "memory.used", "uuid")


@dataclass(frozen=True)
class CardHere:
    """A card of this machine.

    Attributes:
        card: what it is.
        used_bytes: that programs use on it now.
        uuid: such as ``GPU-6e1f...``.
    """

    card: Card
    used_bytes: float
    uuid: str


def cards_here(nvidia_smi: str = "nvidia-smi") -> list[CardHere]:
    """Ask the driver for this machine's cards.

    Args:
        nvidia_smi: the driver's program.

    Returns:
        All of them; none without a driver.
    """
    query = [nvidia_smi, f"--query-gpu={','.join(FACTS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = []
    for line in answer.stdout.splitlines() if answer.returncode == 0 else []:
        parts = [part.strip() for part in line.rsplit(",", len(FACTS) - 1)]
        if len(parts) == len(FACTS) and parts[1].isdigit() and parts[2].isdigit():
            found.append(CardHere(card_of(parts[0], int(parts[1])), float(int(parts[2]) * MIB), parts[3]))
    return found


def visible(cards: Sequence[CardHere]) -> list[CardHere]:
    """Pick the cards that ``CUDA_VISIBLE_DEVICES`` names, in its order; all of them if it is not set.

    Args:
        cards: all of this machine.
    """
    named = os.environ.get(VISIBLE)
    if named is None:
        return list(cards)
    found: list[CardHere] = []
    for name in named_devices(named):
        if name.isdigit():
            found += cards[int(name) : int(name) + 1]
        else:  # of a uuid, the beginning suffices
            found += [one for one in cards if one.uuid.startswith(name)]
    return found
