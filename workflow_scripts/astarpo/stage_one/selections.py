"""Rules that select training prompts by the reference's samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def solved(n_correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Keep prompts with at least one correct response; the others give almost no gradient. Bool [P]."""
    return n_correct > 0


def undecided(n_correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Keep prompts with both correct and incorrect responses. Bool [P]."""
    return (n_correct > 0) & (n_correct < n)


RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "solved": solved,
    "undecided": undecided,
}
