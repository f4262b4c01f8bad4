"""Random numbers of sampled sequences, which depend on nothing but a sequence's seed."""

from __future__ import annotations

import numpy as np


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
