"""One seed for each random decision, derived only from what the decision is for."""

from __future__ import annotations

import hashlib


def derive_seed(*purpose: str | int) -> int:
    """Hash a purpose to a seed, so that draws do not depend on execution order, batch size or resumption.

    Args:
        purpose: what the draw is for, for example ``(run_seed, "train", prompt_id, sample_index, step)``.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join(f"{type(item).__name__}:{item}" for item in purpose)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def unit_hash(text: str) -> float:
    """Map a text to [0, 1), the same in every process and on every machine; used to split data."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def shard_of(identifier: str, shards: int) -> int:
    """The number, below ``shards``, of the job that draws the samples of a prompt."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=4).digest(), "big") % shards
