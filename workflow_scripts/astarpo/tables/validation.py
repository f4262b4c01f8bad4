"""What trainings reached on their validation prompts, learning rates side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from astarpo.common.errors import InputError
from astarpo.common.files import read_table
from astarpo.evaluation.differences import compare_seed_scores
from astarpo.tables.comparisons import prompts_seen
from astarpo.tables.ranking import TIED, UNTOLD
from astarpo.tables.text import TextTable

Row = Mapping[str, Any]
COLUMNS = ("run", "family", "seed", "lr", "step", "validation_reward")
NEEDED = pa.schema([("step", pa.int64()), ("validation_reward", pa.float64())])


def validation_rows(run: Row) -> list[dict[str, Any]]:
    """Read every look that a training took at its validation prompts.

    Args:
        run: of the tables' plan: ``run``, ``family``, ``seed``, ``lr`` and the file ``metrics``.

    Returns:
        Rows with `COLUMNS`; none where the run has no validation prompts.

    Raises:
        InputError: the file is missing or lacks a column.
    """
    table = read_table(run["metrics"], NEEDED).sort_by("step")
    labels = {name: run[name] for name in ("run", "family", "seed", "lr")}
    return [{**labels, **row} for row in table.select(NEEDED.names).to_pylist() if row["validation_reward"] is not None]


def rate_table(rows: Sequence[Row]) -> TextTable:
    """Lay out the last looks: a row for runs that differ in the learning rate alone, a column a rate.

    Args:
        rows: with `COLUMNS`.

    Returns:
        Percent right, means over the seeds; the best rate of a row bold, where it has several, and those marked that
        may be as good: ``=`` not different from it, ``?`` cannot be told, as there is one seed, or all agree.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("no training has looked at validation prompts; give its run `validation`")
    scores = _last_looks(rows, "family")
    rates = sorted({rate for _, rate in scores})
    body, used = [], set()
    for family in dict.fromkeys(name for name, _ in scores):
        own = {rate: scores[family, rate] for rate in rates if (family, rate) in scores}
        signs = _signs(own)
        used |= set(signs.values())
        best = max(map(_mean, own.values())) if len(own) > 1 else None
        cells = {rate: f"{100 * _mean(seeds):.1f}" for rate, seeds in own.items()}
        for rate, seeds in own.items():
            if _mean(seeds) == best:
                cells[rate] = f"<b>{cells[rate]}</b>"
            elif signs[rate]:
                cells[rate] += f" {signs[rate]}"
        body.append([family, *(cells.get(rate, "") for rate in rates)])
    title = "Percent of the validation prompts right at the end, by learning rate; means over seeds, the best rate bold"
    if TIED in used:
        title += f"; {TIED} not different from it, by seed, after Holm's correction for the pairs of a row"
    if UNTOLD in used:
        title += f"; {UNTOLD} cannot be told from it: one seed, or seeds that all agree"
    return TextTable(title, ["run", *(f"{rate:g}" for rate in rates)], body)


def difference_table(rows: Sequence[Row], trainings: Sequence[Row]) -> TextTable | None:
    """Set every training with several seeds against the best one, by the accuracy that each seed ends with.

    Args:
        rows: with `COLUMNS`.
        trainings: of the tables' plan: ``run`` and ``terms`` of each.

    Returns:
        A row a run; None where fewer than two have several seeds.
    """
    last = {key: seeds for key, seeds in _last_looks(rows, "run").items() if len(seeds) > 1}
    if len(last) < 2:
        return None
    data = {training["run"]: prompts_seen(training["terms"]) for training in trainings}
    scores = {run: seeds for (run, _), seeds in last.items()}
    best = max(scores, key=lambda run: _mean(scores[run]))
    body = [[best, f"{100 * _mean(scores[best]):.1f}", "", ""]]
    untold = False
    for (a, b), (found, told) in compare_seed_scores(scores, data).items():
        if a != best:
            continue
        points = [f"{-100 * one:+.1f}" for one in found.interval] if found else []
        shown = "{0} [{2}, {1}]".format(*points) if points else ""
        words = {"tied": "tied", "cannot_tell": "cannot tell"}.get(told, "")
        untold |= told == "cannot_tell"
        body.append([b, f"{100 * _mean(scores[b]):.1f}", shown, words])
    title = (
        "Difference to the best run at the end, in points [95 % t interval over seeds, each by itself, the prompts "
        "being the same]; tied: not different after Holm's correction for the number of pairs of runs"
    )
    if untold:
        title += "; cannot tell: the seeds all agree, which says nothing of others"
    return TextTable(title, ["run", "validation, %", f"less {best}", ""], body)


def _last_looks(rows: Sequence[Row], name: str) -> dict[tuple[str, float], dict[int, float]]:
    """(run or family, learning rate) -> seed -> the last validation reward."""
    last: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row[name], row["lr"]][row["seed"]] = row["validation_reward"]
    return last


def _mean(seeds: Mapping[int, float]) -> float:
    return sum(seeds.values()) / len(seeds)


def _signs(own: Mapping[float, Mapping[int, float]]) -> dict[float, str]:
    """Learning rate -> whether it may be as good as the best one."""
    signs = dict.fromkeys(own, "")
    best = max(own, key=lambda rate: _mean(own[rate]))
    for (a, b), (_, told) in compare_seed_scores(own).items():
        if a == best:
            signs[b] = {"tied": TIED, "cannot_tell": UNTOLD}.get(told, "")
    return signs
