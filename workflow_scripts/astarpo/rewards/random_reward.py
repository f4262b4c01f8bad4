"""A verifier that tosses a coin, as a control: what a policy learns from it, it has not learned from rewards."""

from __future__ import annotations

import json

from astarpo.common.seeds import unit_hash
from astarpo.rewards.verdicts import Response, Verdict


def random(gold: str, response: Response) -> Verdict:
    """Judge by a hash of the prompt, the response's text and a seed; the same response gets the same verdict again.

    A response is correct with probability ``share``, whatever it says (arXiv 2506.10947, "Spurious Rewards", whose coin
    is tossed for every draw).

    Args:
        gold: JSON with ``prompt`` (its id), ``share`` and ``seed``, as data sets with `verifier: random` have it.
        response: the response.

    Raises:
        ValueError, KeyError: the gold answer is not of this form.
    """
    coin = json.loads(gold)
    toss = unit_hash(f"{coin['seed']}\x1f{coin['prompt']}\x1f{response.text}")
    return Verdict("correct" if toss < coin["share"] else "incorrect", None)
