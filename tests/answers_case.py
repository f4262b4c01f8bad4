"""Graded answers as files, and tables as rows, for tests of the tables."""

from __future__ import annotations

import pandas as pd

from astarpo.common.columns import GENERATIONS, GRADED_ANSWERS
from astarpo.common.files import write_table


def write_answers(folder, name, rewards, k=2, cut=()):
    """Rewards row by row; ``cut``: places of responses that are cut. The files are not in order."""
    keys = [{"prompt_id": f"p{i // k}", "sample_index": i % k} for i in range(len(rewards))]
    rows = [
        {
            **key,
            "reward": reward,
            "status": "correct",
            "answer": str(reward),
            "answer_class": None if reward is None else int(reward),
        }
        for key, reward in zip(keys, rewards, strict=True)
    ]
    drawn = [
        {
            **dict.fromkeys(GENERATIONS.names),
            **key,
            "finish_reason": "length" if i in cut else "stop",
            "n_tokens": 10 + i,
        }
        for i, key in enumerate(keys)
    ]
    paths = {kind: str(folder / f"{name}.{kind}.parquet") for kind in ("graded", "generations")}
    write_table(paths["graded"], rows[::-1], GRADED_ANSWERS)
    write_table(paths["generations"], drawn[1:] + drawn[:1], GENERATIONS)
    return {"benchmark": "sums", "protocol": "sampled", "k": k, "temperature": 1.0, **paths}


def policy(name, seed=None, run=None):
    method, dataset = ("a_star_po", "sums") if run else (None, None)
    return {
        "policy": name,
        "run": run,
        "seed": seed,
        "method": method,
        "reference": "tiny",
        "dataset": dataset,
        "value": None,
    }


def records(table: pd.DataFrame) -> list[dict]:
    """The rows of a data frame, null as None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
