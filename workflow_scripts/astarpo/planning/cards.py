"""Machines that are named by their cards, such as ``8xH100``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from astarpo.common.cards import CARDS, Card
from astarpo.common.errors import InputError

SOURCE = "the makers' numbers"


@dataclass(frozen=True)
class Machine:
    """A node on which a configuration may run.

    Attributes:
        name: for messages.
        cards: number of its GPUs.
        card: what each is; None without one.
        ram_bytes: free RAM; None: not known.
        disk_bytes: free disk space; None: not known.
        here: whether it is the one that this runs on.
        used_bytes: of each card by other programs, in the order in which jobs take cards; empty: none are.
    """

    name: str
    cards: int = 0
    card: Card | None = None
    ram_bytes: float | None = None
    disk_bytes: float | None = None
    here: bool = False
    used_bytes: tuple[float, ...] = ()

    def free_bytes(self, cards: int) -> float | None:
        """Bytes that a job can allocate on each of the cards that it gets first; None without a card."""
        return None if self.card is None else self.card.free_bytes - self.used_by_others(cards)

    def used_by_others(self, cards: int) -> float:
        """Bytes that other programs use on the fullest of the cards that a job gets first."""
        return max(self.used_bytes[:cards], default=0.0)


def named_machine(name: str) -> Machine:
    """Look up a machine by its name.

    Args:
        name: a card of `CARDS`, with or without a number of them before it: ``H100``, ``8xH100``.

    Raises:
        InputError: there is no such card, or the number is 0.
    """
    match = re.fullmatch(r"(?:(\d+)x)?([\w-]+)", name.strip(), re.IGNORECASE)
    known = {card.name.lower(): card for card in CARDS}
    if match is None or match[2].lower() not in known or int(match[1] or 1) == 0:
        raise InputError(
            f"MACHINE = {name!r}: not known; write the number of cards and one of {', '.join(c.name for c in CARDS)}, "
            "for example 8xH100"
        )
    card, count = known[match[2].lower()], int(match[1] or 1)
    return Machine(f"{count} x {card.name}", count, card)
