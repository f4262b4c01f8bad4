"""What a training's policy says to the same prompts before, during and after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import pandas as pd
import pyarrow as pa

from astarpo.common.columns import ROLLOUTS
from astarpo.common.frames import frame, read_frame
from astarpo.tables.plan import Training
from astarpo.tables.shown import Cell, ShownTable

TABLE = pa.schema([("run", pa.string()), ("seed", pa.int64()), *ROLLOUTS])
LONGEST = 240  # characters of a prompt or response that are shown: the end, where question and answer are


def rollouts_table(trainings: Iterable[Training]) -> pd.DataFrame:
    """Read the kept rollouts that are shown, those of the first seed of each run.

    Args:
        trainings: from the tables' plan.

    Returns:
        A table with the columns of `TABLE`; a run that kept nothing has no rows.

    Raises:
        InputError: a file is missing or lacks a column.
    """
    tables = [
        read_frame(path, ROLLOUTS).assign(run=training["run"], seed=training["seed"])
        for training in trainings
        if (path := training["rollouts"]) is not None
    ]
    types = {field.name: pd.ArrowDtype(field.type) for field in TABLE}
    return pd.concat([frame([], TABLE), *(one[TABLE.names].astype(types) for one in tables)], ignore_index=True)


def before_and_after(table: pd.DataFrame) -> list[ShownTable]:
    """Show each run's responses to the same prompts at the first, the middle and the last validation.

    Args:
        table: the result of `rollouts_table`.

    Returns:
        A table for each run: a row for each prompt, without the lines that all prompts share, and responses with their
        reward.
    """
    shown = []
    for (run, seed), rows in table.groupby(["run", "seed"], sort=False):
        steps = sorted(set(rows["step"]))
        chosen = sorted({steps[0], steps[len(steps) // 2], steps[-1]})
        shared = _shared_lines(list(rows["prompt"]))
        body: list[list[str | Cell]] = []
        for _, of_prompt in rows.groupby("prompt_id", sort=False):
            columns = (of_prompt[name] for name in ("response", "reward", "finish_reason"))
            by_step = dict(zip(of_prompt["step"], zip(*columns, strict=True), strict=True))
            cells = [Cell(_ending(by_step[step][0]), _reward(*by_step[step][1:])) for step in chosen]
            prompt = of_prompt.iloc[0]
            body.append([_ending(prompt["prompt"][shared:]), _ending(prompt["gold"]), *cells])
        title = f"{run}, seed {seed}: responses to the same validation prompts, with their rewards"
        shown.append(ShownTable.of(title, ["prompt", "gold", *(f"step {step}" for step in chosen)], body))
    return shown


def _shared_lines(prompts: Sequence[str]) -> int:
    """Count the characters of the whole lines with which all prompts begin, such as few-shot examples."""
    if len(set(prompts)) < 2:
        return 0
    lines = zip(*(prompt.split("\n")[:-1] for prompt in prompts), strict=False)
    return sum(len(alike[0]) + 1 for alike in takewhile(lambda line: len(set(line)) == 1, lines))


def _ending(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST else f"… {text[-LONGEST:]}"


def _reward(reward: float | None, finish_reason: str) -> str:
    known = "not known" if pd.isna(reward) else f"{reward:g}"
    return f"[{known}, cut off]" if finish_reason == "length" else f"[{known}]"
