"""One seed for each random decision, derived only from what the decision is for."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(*purpose: str | int) -> int:
    """Hash a purpose to a seed, so that draws do not depend on execution order, batch size or resumption.

    Args:
        purpose: what the draw is for, for example ``(run_seed, "train", prompt_id, sample_index, step)``.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join(f"{type(item).__name__}:{item}" for item in purpose)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(seeds: list[int], count: int) -> np.ndarray:
    """Draw uniforms for several sequences, each row from its own counter-based (Philox) stream.

    Args:
        seeds: B seeds, one per sequence.
        count: T draws per sequence; position t of a row depends only on the row's seed and t.

    Returns:
        float64 array [B, T] in [0, 1).
    """
    drawn_BT = np.empty((len(seeds), count))
    for row, seed in enumerate(seeds):
        drawn_BT[row] = np.random.Generator(np.random.Philox(key=seed)).random(count)
    return drawn_BT


def unit_hash(text: str) -> float:
    """Map a text to [0, 1), the same in every process and on every machine; used to split data."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def shard_of(identifier: str, shards: int) -> int:
    """The number, below ``shards``, of the job that draws the samples of a prompt."""
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=4).digest(), "big") % shards
