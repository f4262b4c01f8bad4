"""The table of crossings: what each run spends to reach what another one ends with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TypedDict, cast

import pandas as pd

from astarpo.common.columns import CROSSINGS
from astarpo.common.frames import frame
from astarpo.evaluation.crossings import Race, SmoothedCurve, race, smoothed
from astarpo.tables.comparisons import prompts_seen
from astarpo.tables.paper import OURS
from astarpo.tables.plan import Terms, Training
from astarpo.tables.results import percent
from astarpo.tables.shown import Cell, ShownTable

VALIDATION = "validation_reward"
TRAINING = "reward"  # of the rollouts, for runs without validation prompts
UNITS = {"seconds": "seconds", "generated_tokens": "tokens", "updates": "updates"}  # and how they are shown
OPEN = "open"

Curves = dict[int, SmoothedCurve]


class CrossingRow(TypedDict):
    """The columns of `columns.CROSSINGS`."""

    run: str
    target: str
    metric: str
    unit: str
    level: float
    outcome: str
    amount: float | None
    target_amount: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    n_seeds: int
    n_reached: int
    n_seeds_target: int
    n_flat_target: int
    paired_by_seed: bool


def crossing_table(trainings: Sequence[Training], curves: pd.DataFrame) -> pd.DataFrame:
    """Time every run to the smoothed end of every other run.

    Args:
        trainings: of the tables' plan.
        curves: with the columns of `columns.CURVES`.

    Returns:
        A table with the columns of `columns.CROSSINGS`, both directions of each pair. Runs are compared by their
        validation reward, if their validation prompts are the same. Those without any are compared with each other by
        their training reward, if they draw prompts from the same selection of the same data set.
    """
    terms = {training["run"]: training["terms"] for training in trainings}
    seen = {run: prompts_seen(one) for run, one in terms.items()}
    validated = set(curves.loc[curves["name"] == VALIDATION, "run"])
    metrics = {run: VALIDATION if run in validated else TRAINING for run in terms}
    rows = []
    for unit in UNITS:
        smooth = {run: _of_run(curves, run, metrics[run], unit, terms[run]["updates_per_rollout"]) for run in terms}
        for run, target in permutations(terms, 2):
            comparable = metrics[run] == metrics[target] and _same_prompts(metrics[run], terms[run], terms[target])
            if comparable and smooth[run] and smooth[target]:
                found = race(smooth[run], smooth[target], shared_data=seen[run] == seen[target])
                rows.append(_row(run, target, metrics[run], unit, found, len(smooth[target])))
    return frame(rows, CROSSINGS)


def _same_prompts(metric: str, one: Terms, other: Terms) -> bool:
    """Whether two runs have this metric of the same prompts."""
    if metric == VALIDATION:
        return one.get("validation") == other.get("validation")
    return (one["dataset"], one["selection"]) == (other["dataset"], other["selection"])


def _of_run(curves: pd.DataFrame, run: str, metric: str, unit: str, updates_per_rollout: int) -> Curves:
    """Seed -> smoothed curve over what is spent, in ``unit``."""
    ordered = curves[(curves["run"] == run) & (curves["name"] == metric)].sort_values("step", kind="stable")
    smooth = {}
    for seed, rows in ordered.groupby("seed"):
        spent = rows["step"] * updates_per_rollout if unit == "updates" else rows[unit]
        smooth[int(seed)] = smoothed(spent.tolist(), rows["value"].tolist())
    return smooth


def _row(run: str, target: str, metric: str, unit: str, found: Race, n_seeds_target: int) -> CrossingRow:
    rises = found.n_flat < n_seeds_target
    outcome = "nothing_to_reach" if not rises else "reached" if found.amount is not None else "not_reached"

    def ratio(amount: float | None) -> float | None:
        return amount / found.target_amount if rises and amount is not None else None

    return {
        "run": run,
        "target": target,
        "metric": metric,
        "unit": unit,
        "level": found.level,
        "outcome": outcome,
        "amount": found.amount if rises else None,
        "target_amount": found.target_amount if rises else None,
        "ratio": ratio(found.amount),
        "ratio_low": ratio(found.low),
        "ratio_high": ratio(found.high),
        "n_seeds": found.n_seeds,
        "n_reached": found.n_reached,
        "n_seeds_target": n_seeds_target,
        "n_flat_target": found.n_flat,
        "paired_by_seed": found.paired,
    }


def race_table(trainings: Sequence[Training], crossings: pd.DataFrame) -> ShownTable | None:
    """Show when A*-PO reaches the final validation accuracy of each run of another method, and the reverse.

    Args:
        trainings: of the tables' plan.
        crossings: from `crossing_table`.

    Returns:
        Two rows per run of another method; None if there is none, no A*-PO run, or no validation. With several A*-PO
        runs the first counts.
    """
    methods = {training["run"]: training["method"] for training in trainings}
    known = crossings[crossings["metric"] == VALIDATION]
    rows: dict[tuple[str, str], list[CrossingRow]] = {}
    for row in known.astype(object).where(known.notna(), None).to_dict("records"):
        rows.setdefault((row["run"], row["target"]), []).append(cast(CrossingRow, row))
    runs = dict.fromkeys(run for run, _ in rows)
    ours = next((run for run in runs if methods[run] == OURS), None)
    others = [run for run in runs if methods[run] != OURS]
    if ours is None or not others:
        return None
    body = [_shown(rows[pair]) for other in others for pair in ((ours, other), (other, ours))]
    title = (
        "What a run spends in stage 2 to reach the validation accuracy that another one ends with, both ways; ratio: "
        "to what the other one spends to get there itself, with a 95 % interval over seeds, not corrected for the "
        f"number of pairs; {OPEN}: the seeds do not exclude that it never gets there. Curves are smoothed by isotonic "
        "regression"
    )
    head = ["run", "reaches the end of", "at, %", "seeds that do", "after, s", "the other, s"]
    return ShownTable.of(title, [*head, *(f"ratio of {UNITS[row['unit']]}" for row in next(iter(rows.values())))], body)


def _shown(rows: Sequence[CrossingRow]) -> list[str | Cell]:
    """The line of a pair, whose rows are those of the units."""
    first = rows[0]
    flat = f"({first['n_flat_target']} of {first['n_seeds_target']} never rise)" if first["n_flat_target"] else ""
    line: list[str | Cell] = [first["run"], first["target"], Cell(percent(first["level"]), flat)]
    line.append(f"{first['n_reached']} of {first['n_seeds']}")
    line += [_amount(first), "" if first["target_amount"] is None else f"{first['target_amount']:.0f}"]
    return [*line, *map(_ratio, rows)]


def _amount(row: CrossingRow) -> str:
    return row["outcome"].replace("_", " ") if row["amount"] is None else f"{row['amount']:.0f}"


def _ratio(row: CrossingRow) -> str | Cell:
    low, high = row["ratio_low"], row["ratio_high"]
    limits = "" if low is None else f"[{low:.2f}, {OPEN if high is None else format(high, '.2f')}]"
    if row["outcome"] == "nothing_to_reach":
        return ""
    return Cell("not reached" if row["ratio"] is None else f"{row['ratio']:.2f}", limits)
